#!/bin/sh
# Lists the server's services, the methods of one of them, the models, and the server's statistics.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext "$address" list
grpcurl -plaintext "$address" list dejavu.v1.PredictionService
grpcurl -plaintext "$address" dejavu.v1.ModelService/ListModels
grpcurl -plaintext "$address" dejavu.ops.v1.OperationsService/GetServiceStats

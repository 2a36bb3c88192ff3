#!/bin/sh
# What the server offers: its services, and the methods of one.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext "$address" list
grpcurl -plaintext "$address" list dejavu.v1.PredictionService
grpcurl -plaintext "$address" dejavu.v1.ModelService/ListModels

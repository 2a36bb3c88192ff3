#!/bin/sh
# Checks whether the server accepts calls: "" for the whole server, or the name of a service.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext "$address" grpc.health.v1.Health/Check
grpcurl -plaintext -d '{"service": "dejavu.v1.PredictionService"}' "$address" grpc.health.v1.Health/Check

#!/bin/sh
# Describes the fields of two messages.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext "$address" describe dejavu.v1.PredictRequest
grpcurl -plaintext "$address" describe dejavu.v1.Forecast

#!/bin/sh
# What a refusal looks like, details included; fails, as the call does.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -format-error -d '{"pattern": [0, "NaN"]}' "$address" dejavu.v1.PredictionService/Predict

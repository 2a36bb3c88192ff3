#!/bin/sh
# Shows an error with its details. Exits with a failure, as the call fails.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -format-error -d '{"pattern": [0, "NaN"]}' "$address" dejavu.v1.PredictionService/Predict

#!/bin/sh
# Streams events as they are recorded, until Ctrl-C. With an argument, resumes after that resume_token.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -d "{\"include_current\": true, \"resume_token\": \"${1:-}\"}" \
  "$address" dejavu.v1.PredictionService/StreamPredictions

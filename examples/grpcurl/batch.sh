#!/bin/sh
# Two forecasts in one call; the second is refused alone.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -max-time 10 -d '{
  "requests": [
    {"pattern": [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6]},
    {"pattern": [0, 2, -1], "horizon": "HORIZON_HALFTIME"}
  ]
}' "$address" dejavu.v1.PredictionService/PredictBatch

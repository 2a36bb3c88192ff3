#!/bin/sh
# Requests two forecasts of a game in one call, half and end. A third request, for a half that is over, fails.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -max-time 10 -d '{
  "requests": [
    {"pattern": [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6], "horizon": "HORIZON_HALFTIME"},
    {"pattern": [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6], "horizon": "HORIZON_FINAL"},
    {"pattern": [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6, 5, 6, 4, 5, 7, 8], "horizon": "HORIZON_HALFTIME"}
  ]
}' "$address" dejavu.v1.PredictionService/PredictBatch

#!/bin/sh
# Requests one forecast, a what-if: without a game_id nothing is recorded. -v shows metadata such as the worker.
set -eu
address=${DEJAVU_TARGET:-127.0.0.1:50051}

grpcurl -plaintext -v -max-time 10 -d '{
  "pattern": [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6],
  "horizon": "HORIZON_HALFTIME",
  "home_team": "BOS",
  "away_team": "LAL",
  "game_date": "2024-11-01",
  "alpha": 0.2,
  "quantile_levels": [0.1, 0.5, 0.9],
  "return_explanation": true
}' "$address" dejavu.v1.PredictionService/Predict

import { expect, test } from "vitest";
import { methodRows, stateRows } from "../src/model/stats";

const stats = {
  windows: [
    {
      lengthSeconds: 300,
      coveredSeconds: 120,
      methods: [
        {
          method: "dejavu.v1.PredictionService/Predict",
          calls: "30",
          errors: [{ code: "UNAVAILABLE", calls: "2" }],
          latency: { quantiles: [{ seconds: 0.0042, upperSeconds: 0.005 }, { seconds: 0.1, upperSeconds: 0.2 }, { seconds: 3 }] },
        },
        { method: "dejavu.v1.PredictionService/StreamPredictions", calls: "1" },
      ],
    },
    { predictions: [{ whatIfs: "1200", recorded: "30", alreadyRecorded: "4" }], cache: { hitRate: 0.75 } },
  ],
  openStreams: 3,
  ledgerLag: { entries: "7", lagSeconds: 90, outcomes: "1" },
  server: { uptimeSeconds: 7300, configuredWorkers: 2, workers: [{}] },
  feeds: [{ feed: "nba", dataAgeSeconds: 12.4 }, { feed: "replay" }],
  coverage: [{ horizon: "HORIZON_FINAL" as const, coverage: 0.9444, nominalCoverage: 0.95, games: 18 }],
};

test("calls are shown a minute, with the codes of those that failed, and durations in milliseconds", () => {
  expect(methodRows(stats)).toEqual([
    ["Predict", "15.0", "UNAVAILABLE 2", "4.2", "100", ">3000"],
    ["StreamPredictions", "0.5", "0"],
  ]);
});

test("the state names workers, lag, cache, feeds and coverage", () => {
  expect(Object.fromEntries(stateRows(stats))).toEqual({
    Workers: "1 of 2",
    "Running for": "2 h",
    "Forecasts since the start": (1234).toLocaleString(),
    "Open streams": "3",
    "Behind the ledger": "streams 7 (1 min), models 1",
    "Cache hits": "75 %",
    "Data of nba": "12 s",
    "Data of replay": "no game in play",
    "Intervals, end": "94.4 % held, expected 95.0 % (18 games)",
  });
});

test("a server that has done nothing yet has rows without calls", () => {
  expect(methodRows({})).toEqual([]);
  expect(stateRows({})[0]).toEqual(["Workers", "0 of 0"]);
});

/** Forecasts and recorded predictions for the tests, with plausible values for the fields that a test does not set. */
import type { Forecast, Outcome, Recorded } from "../src/model/types";

export function made(fields: Partial<Forecast> = {}): Forecast {
  return {
    gameId: "0022400061",
    home: "BOS",
    away: "LAL",
    horizon: "final",
    minute: 18,
    isMoment: false,
    alpha: 0.05,
    point: 7,
    lower: -15,
    upper: 30,
    probability: 0.74,
    total: undefined,
    pointsSoFar: undefined,
    modelVersion: "24a8ff7834922bc8",
    generated: Date.parse("2024-10-23T01:00:00Z"),
    expires: Date.parse("2024-10-23T01:05:00Z"),
    sequence: 1,
    revision: 0,
    late: false,
    day: "2026-01-14",
    expectedMargin: undefined,
    line: undefined,
    whoPlays: 0,
    known: [],
    warnings: [],
    lead: 6,
    similar: [],
    summary: undefined,
    attribution: undefined,
    contributions: [],
    components: [],
    calibrationGames: 0,
    quantiles: [],
    ...fields,
  };
}

export function outcome(fields: Partial<Outcome> = {}): Outcome {
  return { gameId: "0022400061", horizon: "final", differential: 7, withdrawn: false, overtimes: undefined, sequence: 100, revision: 0, recorded: 0, ...fields };
}

export function recorded(fields: Partial<Forecast> = {}): Recorded {
  const forecast = made(fields);
  return { forecast, pattern: [forecast.lead ?? 0], quotes: [] };
}

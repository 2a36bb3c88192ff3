/** Forecasts and recorded predictions for the tests, with plausible values for the fields that a test does not set. */
import { forecast } from "../src/api/convert";
import type { Forecast, Outcome, Recorded } from "../src/model/types";

export function made(fields: Partial<Forecast> = {}): Forecast {
  return {
    ...forecast({ gameId: "0022400061", homeTeam: "BOS", awayTeam: "LAL", horizon: "HORIZON_FINAL", gameDate: "2026-01-14" }),
    minute: 18,
    alpha: 0.05,
    point: 7,
    lower: -15,
    upper: 30,
    probability: 0.74,
    generated: Date.parse("2024-10-23T01:00:00Z"),
    expires: Date.parse("2024-10-23T01:05:00Z"),
    sequence: 1,
    lead: 6,
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

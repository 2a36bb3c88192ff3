/** What the newest forecast of a game still says: it ages, and none follows in the last minute and in overtime. */
import { MINUTE_OF, type Forecast } from "./types";

/**
 * last: made after the last minute that is forecast; the game is in its last minute, or already further.
 * beyond: without an outcome after that, the game is in its last minute or in overtime, which have no forecast.
 * unreported: the game must be over, but how it ended was not reported.
 */
export type Phase = "live" | "halftime" | "stale" | "last" | "beyond" | "unreported" | "over";

const MINUTE_MS = 60_000;
/** At the half no play comes for a quarter of an hour: silence is no fault then. */
const HALFTIME_MS = 20 * MINUTE_MS;
/** The last minute with its fouls and time-outs, whatever time a server lets its forecasts count as current. */
const LAST_MINUTE_MS = 10 * MINUTE_MS;
/** A game that nothing was heard of for longer was given up, such as an interrupted replay; no overtimes take so long. */
export const GIVEN_UP_MS = 120 * MINUTE_MS;

export function phase(newest: Forecast, over: boolean, instant: number): Phase {
  if (over) return "over";
  const age = instant - newest.generated;
  if (age > GIVEN_UP_MS) return "unreported";
  const current = newest.expires > instant;
  if (newest.minute >= MINUTE_OF.final - 1) {
    // A minute of play takes a minute at least: so long the forecast is as new as one can be.
    if (current && age < MINUTE_MS) return "live";
    return current && age < LAST_MINUTE_MS ? "last" : "beyond";
  }
  if (current) return "live";
  return (newest.minute === 23 || newest.minute === 24) && age < HALFTIME_MS ? "halftime" : "stale";
}

/** Whether there is no forecast of what is to come: the newest one is history, to be shown as that of its minute only. */
export function unforecast(of: Phase): of is "beyond" | "unreported" {
  return of === "beyond" || of === "unreported";
}

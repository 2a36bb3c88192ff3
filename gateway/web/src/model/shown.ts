/** What the feed shows of a game, in words. */
import { gameClock, timeOfPlay } from "./play";
import type { Shown } from "./types";

/** The time of play that the feed shows; undefined before tip-off, and without a clock. */
export function playedBy(shown: Shown): number | undefined {
  return shown.period > 0 && shown.left !== undefined ? timeOfPlay(shown.period, shown.left) : undefined;
}

/** The lead in a game in play, by its score; undefined of any other. */
export function leadBy(shown: Shown | undefined): number | undefined {
  return shown?.status === "live" ? shown.homeScore - shown.awayScore : undefined;
}

/** The quarter and its clock, "Q2 6:00": a break is named "End Q1", "Half" or "End OT". */
export function clockOf(shown: Shown): string {
  const { period, left } = shown;
  const name = period > 5 ? `OT${period - 4}` : period === 5 ? "OT" : `Q${period}`;
  if (period < 1) return shown.text;
  if (left === undefined) return shown.text || name;
  if (left === 0) return period === 2 ? "Half" : `End ${name}`;
  // The time of play of 12:00 of the second quarter is that of the end of the first.
  return left >= (period > 4 ? 300 : 720) ? `${name} ${period > 4 ? 5 : 12}:00` : gameClock(timeOfPlay(period, left));
}

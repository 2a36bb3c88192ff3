/** What a chart says of a time of play, the same on each. */
import { strings } from "../strings";
import { lead as leadText, percent } from "./format";
import { gameClock } from "./play";
import type { Forecast, Teams } from "./types";

/**
 * The time of play, then the lead with the score where it is recorded, and who is likelier to win.
 * `forecasts`: those that stand at that time. `lead`: undefined where it is not known.
 */
export function reading(minute: number, lead: number | undefined, forecasts: readonly Forecast[], { home, away }: Teams): string[] {
  const points = forecasts.find((one) => one.minute === minute && one.pointsSoFar !== undefined)?.pointsSoFar;
  const score = points !== undefined && lead !== undefined && (points + lead) % 2 === 0 ? ` · ${away} ${(points - lead) / 2}, ${home} ${(points + lead) / 2}` : "";
  const end = forecasts.find((one) => one.horizon === "final")?.probability;
  return [
    gameClock(minute),
    ...(lead === undefined ? [] : [leadText(lead, home, away, 0) + score]),
    ...(end === undefined ? [] : [chanceText(end, home, away)]),
  ];
}

/** "BOS wins 78 %": of the likelier winner. */
export function chanceText(homeWins: number, home: string, away: string): string {
  return `${strings.tonight.wins(homeWins >= 0.5 ? home : away)} ${percent(Math.max(homeWins, 1 - homeWins))}`;
}

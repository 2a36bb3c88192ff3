/** One game over its minutes: its forecasts, corrections, and coverage of the intervals. */
import { MINUTE_OF, type CoursePoint, type Forecast, type Horizon, type Outcome, type Played, type Recorded } from "./types";

/** The minutes and moments of a horizon in order, each with its newest revision that was in time. */
export function byMinute(predictions: readonly Recorded[], horizon: Horizon): Recorded[] {
  const newest = new Map<number, Recorded>();
  for (const one of predictions) {
    const { forecast } = one;
    if (forecast.horizon !== horizon || forecast.late) continue;
    const standing = newest.get(forecast.minute);
    if (!standing || forecast.sequence > standing.forecast.sequence) newest.set(forecast.minute, one);
  }
  return [...newest.values()].sort((a, b) => a.forecast.minute - b.forecast.minute);
}

/**
 * The forecast of a horizon that stands at a time of play, of a series in order: at most a minute old, since the half
 * and the end have their moments at different times, and of a horizon that is still ahead.
 */
export function standingAt(series: readonly Recorded[], minute: number): Recorded | undefined {
  const one = series.filter(({ forecast }) => forecast.minute <= minute).at(-1);
  if (!one || minute - one.forecast.minute >= 1) return undefined;
  return one.forecast.horizon === "half" && minute >= MINUTE_OF.half ? undefined : one;
}

/** The margins of a pattern and of the moments between its minutes and after it, in order. */
export function played(pattern: readonly number[], series: readonly Recorded[]): Played[] {
  const found = new Map(pattern.map((lead, index) => [index + 1, lead]));
  for (const { forecast } of series) if (forecast.isMoment && !found.has(forecast.minute)) found.set(forecast.minute, forecast.lead ?? 0);
  return [...found].map(([minute, lead]) => ({ minute, lead })).sort((a, b) => a.minute - b.minute);
}

/** Each prediction once, in the order of the ledger. */
export function inOrder(predictions: readonly Recorded[]): Recorded[] {
  const bySequence = new Map(predictions.map((one) => [one.forecast.sequence, one]));
  return [...bySequence.values()].sort((a, b) => a.forecast.sequence - b.forecast.sequence);
}

/** The current outcome of a horizon, if there is one. */
export function standing(outcomes: readonly Outcome[], horizon: Horizon): Outcome | undefined {
  const newest = outcomes.filter((one) => one.horizon === horizon).sort((a, b) => b.sequence - a.sequence)[0];
  return newest?.withdrawn ? undefined : newest;
}

/** Whether the interval of a forecast contains a differential, ends included. */
export function covers(forecast: Forecast, differential: number): boolean {
  return forecast.lower <= differential && differential <= forecast.upper;
}

/** The forecasts of the newest one's teams: where these were exchanged, a lead was the other's. */
export function ofSameTeams(predictions: readonly Recorded[]): readonly Recorded[] {
  const newest = predictions.at(-1)?.forecast;
  return predictions.filter(({ forecast }) => forecast.home === newest?.home && forecast.away === newest.away);
}

/** How many intervals of minutes contain the outcome, of how many; most moments are seconds before the end and say little. */
export function held(predictions: readonly Recorded[], outcome: Outcome): { held: number; of: number } {
  const judged = ofSameTeams(predictions).filter(({ forecast }) => !forecast.isMoment);
  const hits = judged.filter((one) => covers(one.forecast, outcome.differential));
  return { held: hits.length, of: judged.length };
}

/** A correction: the same minute forecast again from other plays. At a moment, other plays are usually later ones of the same second. */
export function corrections(predictions: readonly Recorded[]) {
  const found: { minute: number; horizon: Horizon; from: Recorded; to: Recorded }[] = [];
  const last = new Map<string, Recorded>();
  for (const one of inOrder(predictions)) {
    const { horizon, minute, modelVersion, alpha } = one.forecast;
    if (one.forecast.isMoment) continue;
    const key = [horizon, minute, modelVersion, alpha].join();
    const from = last.get(key);
    if (from && one.forecast.revision > from.forecast.revision) found.push({ minute, horizon, from, to: one });
    last.set(key, one);
  }
  return found;
}

/**
 * The newest change of the home team's win probability, in whole percentage points, since the newest forecast that is at
 * least a minute of play older.
 */
export function changeOf(course: readonly CoursePoint[]): { percent: number; since: number } | undefined {
  const last = course.at(-1);
  const before = last && course.filter((one) => one.minute <= last.minute - 1).at(-1);
  if (!last || !before) return undefined;
  const percent = Math.round(100 * (last.probability - before.probability));
  return { percent, since: before.minute };
}

/** How undecided a game is: 1 at even chances, 0 where one side is certain to win. */
export function openness(probability: number): number {
  return 1 - Math.abs(2 * probability - 1);
}

/** The course with one more point, in the order of minutes; a point of a known minute replaces it. */
export function withPoint(course: readonly CoursePoint[], point: CoursePoint): CoursePoint[] {
  return inMinutes([...course.filter((one) => one.minute !== point.minute), point]);
}

export function inMinutes(course: CoursePoint[]): CoursePoint[] {
  return course.sort((a, b) => a.minute - b.minute);
}

/** What a game was: its swings, and how its winner came there. */
import { endOf, overtimesBy } from "./play";
import type { CoursePoint, Played } from "./types";

/** A rise of a team's win probability within so few minutes of play: the definition of `dejavu notify` (docs/watch.md). */
const SWING_MINUTES = 6;
/** Rise of the smallest swing that is named. */
const NAMED_FROM = 0.1;
const MOST = 3;

export interface Swing {
  from: CoursePoint;
  to: CoursePoint;
  /** Change of the home team's win probability in whole percentage points; below zero the away team's rose. */
  percent: number;
}

/** The largest swings between the forecasts of a game in order, the largest first; none of them overlap. */
export function swings(points: readonly CoursePoint[]): Swing[] {
  const rises = points
    .flatMap((to, place) => points.slice(0, place).filter((from) => to.minute - from.minute <= SWING_MINUTES).map((from) => ({ from, to, rise: to.probability - from.probability })))
    .filter(({ rise }) => Math.abs(rise) >= NAMED_FROM)
    .sort((a, b) => Math.abs(b.rise) - Math.abs(a.rise) || a.to.minute - a.from.minute - (b.to.minute - b.from.minute));
  const found: typeof rises = [];
  for (const one of rises)
    if (found.length < MOST && found.every(({ from, to }) => one.to.minute <= from.minute || to.minute <= one.from.minute)) found.push(one);
  return found.map(({ from, to, rise }) => ({ from, to, percent: Math.round(100 * rise) }));
}

/** The chance from which on a game counts as decided. */
const DECIDED = 0.95;

/**
 * How the winner of a game came there; undefined where more than six minutes of play have no forecast. `lowest`: the
 * forecast at which it was least likely to win, with that chance. `behind`: where it was furthest behind, of the known
 * leads; undefined if never. `decided`: the forecast from which on its chance stayed at 95 % or more; undefined if the
 * last one was below.
 */
export function story(points: readonly CoursePoint[], played: readonly Played[], differential: number) {
  const times = [0, ...points.map(({ minute }) => minute), endOf(overtimesBy(points.at(-1)?.minute ?? 0))];
  if (times.some((minute, place) => minute - (times[place - 1] ?? 0) > SWING_MINUTES)) return undefined;
  const homeWon = differential > 0;
  const chance = ({ probability }: CoursePoint) => (homeWon ? probability : 1 - probability);
  const ahead = ({ lead }: Played) => (homeWon ? lead : -lead);
  const lowest = [...points].sort((a, b) => chance(a) - chance(b))[0];
  const least = [...played].sort((a, b) => ahead(a) - ahead(b))[0];
  const open = points.filter((one) => chance(one) < DECIDED).at(-1);
  return lowest && { homeWon, lowest, chance: chance(lowest), behind: least && ahead(least) < 0 ? least : undefined, decided: points[open ? points.indexOf(open) + 1 : 0] };
}

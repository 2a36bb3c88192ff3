/** Which games are on the air: changed calmly, as viewers need time for each. */

/** A game in play: how undecided it is (1 at even chances), and its time of play. */
export interface InPlay {
  id: string;
  open: number;
  minute: number;
}

/** The followed game: since when, and when it was last in play. */
export interface Followed {
  id: string;
  since: number;
  seen: number;
}

/** How much more undecided another game has to be, and how long a game is followed at least. */
const CLEARLY = 0.2;
const AT_LEAST_MS = 45_000;
/** How long a game that is over, or has no forecast, stays on. */
const END_MS = 20_000;

/** The most undecided games first, in steps of a tenth; of equal ones, the one nearest its end. */
export function byInterest(a: InPlay, b: InPlay): number {
  const step = (one: InPlay) => Math.round(10 * one.open);
  return step(b) - step(a) || b.minute - a.minute || a.id.localeCompare(b.id);
}

/** The game to follow next: another one only if it is clearly more undecided, or if the followed one is over. */
export function follow(before: Followed | undefined, inPlay: readonly InPlay[], now: number): Followed | undefined {
  const best = [...inPlay].sort(byInterest)[0];
  if (!best) return before;
  const standing = inPlay.find((one) => one.id === before?.id);
  if (before && standing && (best.open - standing.open < CLEARLY || now - before.since < AT_LEAST_MS)) return { ...before, seen: now };
  if (before && !standing && now - before.seen < END_MS) return before;
  return { id: best.id, since: now, seen: now };
}

/** The wanted games on their places: one that was shown keeps its own, a new one takes that of a game that left. */
export function keepPlaces(before: readonly string[], wanted: readonly string[]): string[] {
  const fresh = wanted.filter((id) => !before.includes(id));
  const kept = before.map((id) => (wanted.includes(id) ? id : fresh.shift())).filter((id) => id !== undefined);
  return [...kept, ...fresh];
}

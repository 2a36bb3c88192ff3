/** Phase of a game's newest forecast: it ages, and without forecasts of moments none follows in the last minute and in overtime. */
import { gameDay } from "./format";
import { timeOfPlay } from "./play";
import { playedBy } from "./shown";
import { MINUTE_OF, type Forecast, type Shown } from "./types";

/**
 * last: made after the last whole minute; the game is in its last minute, or already further.
 * beyond: without an outcome or a forecast of a moment after that, the game is in its last minute or in overtime, which have no forecast.
 * ended: the feed shows the game as over, but its outcome was not reported yet.
 * postponed: the feed shows it as one that does not go on.
 * unreported: the game must be over, but its outcome was not reported.
 */
export type Phase = "live" | "halftime" | "stale" | "last" | "over" | Unforecast;
/** The phases in which the rest of the game has no forecast: the newest one is then shown only as that of its minute. */
export type Unforecast = "beyond" | "ended" | "postponed" | "unreported";

const MINUTE_MS = 60_000;
/** At the half no play comes for a quarter of an hour: silence is no fault then. */
const HALFTIME_MS = 20 * MINUTE_MS;
/** Duration of the last minute with its fouls and time-outs, even if the server's forecasts expire later. */
const LAST_MINUTE_MS = 10 * MINUTE_MS;
/** A game without events for longer was abandoned, such as an interrupted replay; no overtimes take so long. */
export const GIVEN_UP_MS = 120 * MINUTE_MS;

export function phase(newest: Forecast, over: boolean, instant: number, shown?: Shown): Phase {
  if (over) return "over";
  const age = instant - newest.generated;
  if (shown?.status === "postponed") return "postponed";
  if (age > GIVEN_UP_MS) return "unreported";
  // A shot at the buzzer comes after the newest forecast, and the feed has it before the record.
  if (shown?.status === "final") return "ended";
  const current = newest.expires > instant;
  if (newest.minute >= MINUTE_OF.final - 1 && !newest.isMoment) {
    // A minute of play takes at least a minute, for which the forecast is as new as possible.
    if (current && age < MINUTE_MS) return "live";
    return current && age < LAST_MINUTE_MS ? "last" : "beyond";
  }
  if (shown && (isBehind(newest, shown, age) || isUnread(shown, age, instant))) return "stale";
  if (current) return "live";
  return newest.minute >= 23 && newest.minute <= 24 && age < HALFTIME_MS ? "halftime" : "stale";
}

/** Minutes of play after which a forecast is behind the score of the feed: there is one a minute at least. */
const BEHIND_MINUTES = 1.5;
/** Age from which a forecast of another lead is behind: the next one comes within seconds of a basket near the end. */
const OTHER_LEAD_MS = 30_000;
/** The time of play from which on every play has a forecast. */
const ENDS_FROM = 44;

/** Whether the feed shows a game that went on without forecasts, as when its plays cannot be read. */
function isBehind(newest: Forecast, shown: Shown, age: number): boolean {
  if (shown.status !== "live" || shown.left === undefined || shown.period < 1) return false;
  const played = timeOfPlay(shown.period, shown.left);
  if (played - newest.minute > BEHIND_MINUTES) return true;
  const lead = shown.homeScore - shown.awayScore;
  return played >= Math.max(newest.minute, ENDS_FROM) && newest.isMoment && lead !== newest.lead && age > OTHER_LEAD_MS;
}

/** Whether neither a state nor a forecast of a live game has come for a while: its feed left it, whatever other games do. */
function isUnread(shown: Shown, age: number, instant: number): boolean {
  return shown.status === "live" && Math.min(age, instant - shown.observed) > SILENT_MS;
}

/** Whether a replay generated the id of a game. */
export function isReplay(id: string): boolean {
  return id.startsWith("99");
}

/** The day of a forecast's game. */
export function dayOf(forecast: Forecast): string {
  return forecast.day || gameDay(forecast.generated);
}

/** Whether a game is one of this evening: by the day of its forecasts; before the first, a replay that begins is, and others are by their tip-off. */
export function isOfEvening(evening: string, id: string, newest: Forecast | undefined, shown: Shown | undefined): boolean {
  if (newest) return dayOf(newest) === evening;
  if (shown === undefined) return false;
  // A replay that has been played for longer, without a forecast that is known here, was of an evening before.
  if (isReplay(id)) return shown.status === "scheduled" || (shown.status === "live" && isBeginning(shown));
  return !Number.isNaN(shown.tipOff) && gameDay(shown.tipOff) === evening;
}

/** The games whose silence counts: those of the NBA, or of replays where there are no others. */
export function watchedOf<Game extends { id: string }>(games: readonly Game[]): readonly Game[] {
  const real = games.filter((game) => !isReplay(game.id));
  return real.length ? real : games;
}

/** The poller publishes a live game every 15 s, and reads the feed more often. */
const SILENT_MS = MINUTE_MS;

/** Returns whether the poller or the feed has left a game: it went on with others, which tells nothing about them. */
export function leftOf(games: readonly Shown[]): (one: Shown) => boolean {
  const published = Math.max(...games.map((one) => one.published).filter(Number.isFinite));
  const observed = Math.max(...games.map((one) => one.observed).filter(Number.isFinite));
  return (one) => published - one.published > SILENT_MS || observed - one.observed > SILENT_MS;
}

/** The live games that the poller and the feed follow, as far as their states tell. */
export function followed(games: readonly Shown[], instant: number): Shown[] {
  const left = leftOf(games);
  return games.filter((one) => one.status === "live" && instant - one.published < GIVEN_UP_MS && !left(one));
}

/** The part from which nothing comes of games in play, and for how long: a poller that publishes old states only has no feed. */
export function silentPart(games: readonly Shown[], instant: number): { part: "poller" | "feed"; age: number } | undefined {
  const inPlay = followed(games, instant);
  if (!inPlay.length) return undefined;
  const published = instant - Math.max(...games.map((one) => one.published).filter(Number.isFinite));
  const observed = instant - Math.max(...inPlay.map((one) => one.observed));
  if (published > SILENT_MS) return { part: "poller", age: published };
  return observed > SILENT_MS ? { part: "feed", age: observed } : undefined;
}

/** Minutes of play after which a game has a forecast, if there are forecasts of it. */
const BEGUN = 2;

/** Whether the first forecast of a live game is still to come. */
export function isBeginning(shown: Shown): boolean {
  return (playedBy(shown) ?? 0) < BEGUN;
}

/** Whether the rest of the game has no forecast. */
export function unforecast(of: Phase): of is Unforecast {
  return of === "beyond" || of === "ended" || of === "postponed" || of === "unreported";
}

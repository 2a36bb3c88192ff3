/** Current problems in words; empty if there are none. */
import { createMemo } from "solid-js";
import { span } from "../model/format";
import { leftOf, phase, silentPart, watchedOf } from "../model/phase";
import { strings } from "../strings";
import { tonight } from "./board";
import { now, offset } from "./clock";
import { games, latest, outcomeOf } from "./games";
import { connection, reaches, status } from "./live";

const SKEW_MS = 30_000;

const watched = createMemo(() => watchedOf(games()));

/** What the feed shows of the games whose silence counts. */
export const states = createMemo(() => watched().flatMap((game) => game.shown ?? []));

/** Age of the newest forecast if games are in play and all their forecasts have expired; at the half none comes for long. */
export const quietFor = createMemo((): number | undefined => {
  if (!tonight()) return undefined; // which games are over is not known yet
  const left = leftOf(states());
  const inPlay = watched().flatMap((game) => {
    const newest = latest(game);
    if (!newest || outcomeOf(game, "final") || (game.shown && left(game.shown))) return [];
    const state = phase(newest, false, now(), game.shown);
    return state === "live" || state === "halftime" || state === "stale" ? [{ newest, isQuiet: state === "stale" && newest.expires <= now() }] : [];
  });
  if (!inPlay.length || inPlay.some((one) => !one.isQuiet)) return undefined;
  return now() - Math.max(...inPlay.map((one) => one.newest.generated));
});

/** The poller or the feed, if nothing has come from it for a while in which games are in play. */
export const silentFor = createMemo(() => silentPart(states(), now()));

/** The part on the path of new forecasts that is gone or quiet though the page is connected: the poller, or its feed. */
export const source = createMemo(() => silentFor()?.part ?? (quietFor() === undefined ? undefined : "quiet"));

/** Whether all that new forecasts pass through works, from the feed to the page. */
export function isCurrent(): boolean {
  return reaches() === "live" && source() === undefined;
}

/** What is said of a problem, by the reason of the server's status or the name of the part. */
export function problemOf(key: string): { badge: string; title: string; detail: (age: string) => string } {
  return (strings.problems.of[key] ?? strings.problems.of.other) as ReturnType<typeof problemOf>;
}

export const problems = createMemo(() => {
  const words = strings.problems;
  if (connection() === "lost") return [{ key: "page", ...words.pageLost }];
  const found: { key: string; title: string; detail: string }[] = [];
  const state = status();
  const [silent, quiet] = [silentFor(), quietFor()];
  const tell = (key: string, age = 0, told = "") => {
    const { title, detail } = problemOf(key);
    found.push({ key, title, detail: key === "LEDGER_BROKEN" ? `${detail("")} ${told}` : told || detail(span(age)) });
  };
  // The state of the ledger of an unreachable server is unknown.
  if (state && state.reason !== "OK") tell(state.reason, 0, state.reason === "LEDGER_BROKEN" ? state.ledger.message : state.message);
  else if (silent) tell(silent.part, silent.age);
  else if (quiet !== undefined) tell("quiet", quiet);
  const skew = offset();
  if (skew !== undefined && Math.abs(skew) > SKEW_MS)
    found.push({ key: "skew", title: words.skew.title, detail: words.skew.detail(span(Math.abs(skew)), skew > 0) });
  return found;
});

/** Current problems in words; empty if there are none. */
import { createMemo } from "solid-js";
import { span } from "../model/format";
import { leftOf, phase, silentPart, watchedOf } from "../model/phase";
import { strings } from "../strings";
import { tonight } from "./board";
import { now, offset } from "./clock";
import { games, latest, outcomeOf } from "./games";
import { connection, reaches, status } from "./live";

export interface Problem {
  key: string;
  title: string;
  detail: string;
}

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

export const problems = createMemo((): Problem[] => {
  const words = strings.problems;
  if (connection() === "lost") return [{ key: "page", ...words.pageLost }];
  const found: Problem[] = [];
  const state = status();
  if (state && state.reason !== "OK" && state.reason !== "LEDGER_BROKEN") {
    const known = words.reasons[state.reason] ?? words.other;
    found.push({ key: state.reason, title: known.title, detail: state.message || known.detail });
  }
  // The state of the ledger of an unreachable server is unknown.
  if (state?.reason === "LEDGER_BROKEN") found.push({ key: "ledger", title: words.ledger.title, detail: `${words.ledger.detail} ${state.ledger.message}` });
  const silent = silentFor();
  if (silent && !found.length) found.push({ key: silent.part, title: words.silent[silent.part].title, detail: words.silent[silent.part].detail(span(silent.age)) });
  const quiet = quietFor();
  if (quiet !== undefined && !found.length) found.push({ key: "quiet", title: words.quiet.title, detail: words.quiet.detail(span(quiet)) });
  const skew = offset();
  if (skew !== undefined && Math.abs(skew) > SKEW_MS)
    found.push({ key: "skew", title: words.skew.title, detail: words.skew.detail(span(Math.abs(skew)), skew > 0) });
  return found;
});

/** Current problems in words; empty if there are none. */
import { createMemo } from "solid-js";
import { span } from "../model/format";
import { GIVEN_UP_MS, silentPart, watchedOf } from "../model/phase";
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

/** Age of the newest forecast if games are in play and all their forecasts have expired. */
export const quietFor = createMemo((): number | undefined => {
  if (!tonight()) return undefined; // which games are over is not known yet
  const inPlay = watched().flatMap((game) => {
    const newest = latest(game);
    return newest && (newest.minute < 47 || newest.isMoment) && !outcomeOf(game, "final") ? [newest] : [];
  });
  const recent = inPlay.filter((one) => now() - one.generated < GIVEN_UP_MS);
  if (!recent.length || recent.some((one) => one.expires > now())) return undefined;
  return now() - Math.max(...recent.map((one) => one.generated));
});

/** The poller or the feed, if nothing has come from it for a while in which games are in play. */
export const silentFor = createMemo(() => silentPart(watched().flatMap((game) => game.shown ?? []), now()));

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

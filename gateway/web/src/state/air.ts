/** Games for a broadcast: what may be said of one, which one is followed, and which are on a board. */
import { createEffect, createMemo, createSignal, on, untrack, type Accessor } from "solid-js";
import { openness } from "../model/course";
import { gameDay } from "../model/format";
import { byInterest, follow, keepPlaces, type Followed, type InPlay } from "../model/follow";
import { phase, unforecast } from "../model/phase";
import type { Shown } from "../model/types";
import { byTipOff, isTonight, loadTonight, tonight } from "./board";
import { now } from "./clock";
import { games, latest, outcomeOf, type Game } from "./games";
import type { History } from "./history";
import { createPhase } from "./phase";
import { isCurrent } from "./problems";

/** A poller tells of a live game every 15 seconds, and after each read that changes it: on the air, longer silence is too long. */
const SILENT_MS = 30_000;

/** What may go on the air of a game. Viewers see no words about faults: what may be old is grey. */

export type Air = NonNullable<ReturnType<ReturnType<typeof createAir>>>;

/** What may be said of a game, by the stream, and by its history where the stream has told nothing yet; undefined if nothing is known. */
export function createAir(game: Accessor<Game | undefined>, history?: History) {
  const shown = () => game()?.shown;
  const newest = createMemo(() => {
    const one = game();
    const told = one && latest(one);
    return told && !told.late ? told : history?.newest();
  });
  const outcome = createMemo(() => {
    const one = game();
    return (one && outcomeOf(one, "final")) ?? history?.outcome("final");
  });
  const state = createPhase(newest, outcome, shown);
  const end = () => {
    const told = game()?.newest.final;
    return told && !told.late ? told : history?.at(newest()?.minute ?? 0, "final")?.forecast;
  };
  return createMemo(() => {
    const [teams, one] = [game()?.home ? game() : (newest() ?? history?.teams()), newest()];
    if (!teams?.home || !(one || shown() || outcome())) return undefined;
    const isOld = !isCurrent() || (shown()?.status === "live" && now() - (shown() as Shown).observed > SILENT_MS);
    const isNewest = ["live", "halftime"].includes(state());
    return {
      home: teams.home,
      away: teams.away,
      shown: shown(),
      /** The differential at the end, once it is known. */
      final: outcome()?.differential,
      /** Lead and time of play of the newest forecast, for a game whose score is not known. */
      lead: one?.lead ?? 0,
      minute: one?.minute ?? 0,
      /** The standing forecast of the end of a game in play. */
      forecast: outcome() || unforecast(state()) ? undefined : end(),
      /** Whether the score may be old; and whether a chart may be, which is of the newest forecast. */
      old: !outcome() && (isOld || !(isNewest || ["ended", "postponed"].includes(state()))),
      oldChart: !outcome() && (isOld || !isNewest),
    };
  });
}

/** The evening's games, by tip-off. */
export const gamesOn = createMemo(() => games().filter(isTonight).sort(byTipOff));

/** The games in play with a forecast that stands. */
function inPlay(): InPlay[] {
  return gamesOn().flatMap((game) => {
    const [end, newest] = [game.newest.final, latest(game)];
    if (!end || !newest || end.late || outcomeOf(game, "final") || !["live", "halftime", "last"].includes(phase(newest, false, now(), game.shown))) return [];
    return [{ id: game.id, open: openness(end.probability), minute: newest.minute }];
  });
}

/** Keeps the list of tonight's games up to date on a page that is open for days. */
export function keepEvening(): void {
  createEffect(on(() => gameDay(now()), () => tonight() && void loadTonight(), { defer: true }));
}

/** The id of the most undecided game in play. */
export function createClosest(): Accessor<string | undefined> {
  const followed = createMemo((before: Followed | undefined) => follow(before, inPlay(), now()), undefined);
  return createMemo(() => followed()?.id);
}

const CHOOSE_EVERY_MS = 30_000;

/** The ids of so many games on their places: those in play, the most undecided first, then those that are over and those to come. */
export function createBoard(count: Accessor<number>): Accessor<string[]> {
  const [ids, setIds] = createSignal<string[]>([]);
  const known = createMemo(() => gamesOn().length);
  createEffect(
    on([() => Math.floor(now() / CHOOSE_EVERY_MS), known, count], () =>
      untrack(() => {
        const first = inPlay().sort(byInterest).map((one) => one.id);
        const status = (game: Game) => ["live", "final", "scheduled", "postponed"].indexOf(game.shown?.status ?? "final");
        const others = gamesOn().filter((game) => !first.includes(game.id)).sort((a, b) => status(a) - status(b) || byTipOff(a, b));
        setIds((before) => keepPlaces(before, [...first, ...others.map((game) => game.id)].slice(0, count())));
      }),
    ),
  );
  return ids;
}

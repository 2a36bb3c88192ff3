/** The board: tonight's games live, or those of an earlier evening. */
import { batch, createEffect, createMemo, createSignal, For, on, onCleanup, Show } from "solid-js";
import { api } from "../api/client";
import { Commands } from "../components/Command";
import { GameCard } from "../components/GameCard";
import { MarketNote } from "../components/MarketBeside";
import { PageHead, Pending } from "../components/Frame";
import { day, gameDay } from "../model/format";
import { isReplay, phase } from "../model/phase";
import { go, query } from "../router";
import { byId, byOpenness, byTipOff, evening, failure, isTonight, loadTonight, tonight } from "../state/board";
import { now } from "../state/clock";
import { game as known, games, latest, outcomeOf, takeBoardGame, type Game } from "../state/games";
import { createLoaded } from "../state/load";
import { strings } from "../strings";

const said = strings.tonight;

/** Time for which cards wait for the whole board, so that they do not move; then the games of the stream are shown. */
const WAIT_MS = 3000;

/** Cards are drawn a few at a time, so that a slow phone answers meanwhile; the first ones nearly fill it. */
const CARDS_A_TURN = 2;

export default function Tonight() {
  const chosen = () => query("date");
  const past = createLoaded(chosen, async (day) => {
    const answer = await api.board(day);
    batch(() => answer.games.forEach(takeBoardGame));
    return answer;
  });
  const board = () => (chosen() ? (past.value()?.date === chosen() ? past.value() : undefined) : tonight());
  const error = () => (chosen() ? past.error() : failure());
  const retry = () => void (chosen() ? past.reload() : loadTonight());
  const [waited, setWaited] = createSignal(false);
  const timer = setTimeout(() => setWaited(true), WAIT_MS);
  onCleanup(() => clearTimeout(timer));
  const live = () => !chosen() || chosen() === evening();
  const date = () => chosen() ?? evening();
  // A board that stays open moves to the next evening, once for each.
  createEffect(on(evening, (next) => tonight() && tonight()?.date !== next && void loadTonight(), { defer: true }));
  const shown = createMemo(() => {
    const listed = new Set((board()?.games ?? []).map((game) => game.gameId));
    return games().filter((game) => listed.has(game.id) || (live() && isTonight(game)));
  });
  const minute = createMemo(() => Math.floor(now() / 60_000));
  const groupOf = (game: Game): string => {
    if (outcomeOf(game, "final")) return said.over;
    if (game.shown?.status === "postponed") return said.postponed;
    if (game.shown?.status === "scheduled" && !latest(game)) return said.later;
    if (game.shown?.status === "final" && !latest(game)) return said.over;
    const newest = latest(game);
    const now_ = newest && phase(newest, false, 60_000 * minute(), game.shown);
    return now_ === "ended" ? said.over : now_ === "unreported" ? said.unreported : said.inPlay;
  };
  const sorted = (group: string) =>
    shown()
      .filter((game) => groupOf(game) === group)
      .sort(group === said.inPlay ? byOpenness : group === said.later ? byTipOff : byId)
      .map((game) => game.id);
  const groups = [said.inPlay, said.later, said.postponed, said.unreported, said.over].map((name) => ({ name, ids: createMemo(() => sorted(name)) }));
  const [room, setRoom] = createSignal(CARDS_A_TURN);
  createEffect(() => {
    if (room() >= shown().length) return;
    const further = setTimeout(() => setRoom(room() + CARDS_A_TURN));
    onCleanup(() => clearTimeout(further));
  });
  /** The cards of a group that have room: those of the groups before it come first. */
  const drawn = (place: number) => {
    const before = groups.slice(0, place).reduce((sum, group) => sum + group.ids().length, 0);
    return groups[place]?.ids().slice(0, Math.max(0, room() - before)) ?? [];
  };
  const dates = () => board()?.dates;
  /** The date of the games: of replays it is known with their first forecast. */
  const when = () => {
    if (!shown().length || !shown().every((game) => isReplay(game.id))) return day(date());
    return shown().some(latest) ? said.replayed(day(date())) : said.replay;
  };
  return (
    <>
      <PageHead
        title={live() ? strings.pages["/"] : day(date())}
        intro={live() && <span class="sub">{when()}</span>}
      >
        <nav class="row sub evenings" aria-label={said.evening}>
          <Show when={dates()?.previous}>{(date) => <a href={`/?date=${date()}`}>← {said.previous}</a>}</Show>
          <Show when={dates()?.next}>{(date) => <a href={`/?date=${date()}`}>{said.next} →</a>}</Show>
          <Show when={chosen()}>
            <a href="/">{said.toToday}</a>
          </Show>
          <label>
            <span class="visually-hidden">{said.chooseDay}</span>
            <input
              type="date"
              value={date()}
              max={date() > gameDay(now()) ? date() : gameDay(now())}
              onChange={(event) => event.currentTarget.value && go(`/?date=${event.currentTarget.value}`)}
            />
          </label>
        </nav>
      </PageHead>
      <Show when={board() || ((error() || waited()) && shown().length)} fallback={<Pending error={error()} retry={retry} />}>
        <Show when={shown().length} fallback={
            <>
              <p class="pending">{said.empty}</p>
              <Show when={!chosen()}>
                <p>{said.emptyHint}</p>
                <Commands />
              </Show>
            </>
          }
        >
          <For each={groups}>
            {(group, place) => (
              <Show when={drawn(place()).length}>
                <section class="board-group">
                  <h2>
                    {group.name} <span class="count">{group.ids().length}</span>
                  </h2>
                  <div class="board">
                    <For each={drawn(place())}>{(id) => <Show when={known(id)}>{(game) => <GameCard game={game()} />}</Show>}</For>
                  </div>
                </section>
              </Show>
            )}
          </For>
          <MarketNote />
        </Show>
      </Show>
    </>
  );
}

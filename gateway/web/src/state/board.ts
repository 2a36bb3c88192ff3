/** Tonight's games from the record, loaded at the start and again after a break, as the stream lacks earlier outcomes. */
import { batch, createSignal } from "solid-js";
import { api, type Board } from "../api/client";
import { openness } from "../model/course";
import { gameDay } from "../model/format";
import { isOfEvening } from "../model/phase";
import { now } from "./clock";
import { later } from "./delay";
import { latest, takeBoardGame, type Game } from "./games";
import { loadedUpTo, onRestart, status } from "./live";

const [tonight, setTonight] = createSignal<Board>();
const [failure, setFailure] = createSignal<unknown>();
export { tonight, failure };

/** The day that is tonight: the gateway tells it, the server behind it need not answer. */
export function evening(): string {
  return status()?.evening ?? tonight()?.date ?? gameDay(now());
}

const RETRY_MS = 3000;
let loading = false;
let again = false;

/** Loads the board, and tries again until it succeeds; resolves after the first attempt. */
export async function loadTonight(): Promise<void> {
  if (loading) {
    again = true;
    return;
  }
  loading = true;
  try {
    const board = await api.board();
    later(() =>
      batch(() => {
        board.games.forEach(takeBoardGame);
        setTonight(board);
        setFailure(undefined);
      }),
    );
    loadedUpTo(board.resumeToken);
  } catch (error) {
    setFailure(error);
    setTimeout(() => void loadTonight(), RETRY_MS);
  } finally {
    loading = false;
    if (again) {
      again = false;
      void loadTonight();
    }
  }
}

onRestart(() => void ((tonight() || loading) && loadTonight()));

/** Whether a game is one of tonight's. */
export function isTonight(game: Game): boolean {
  return isOfEvening(evening(), game.id, latest(game), game.shown);
}

/** The order of the board: open games first, in steps of a tenth, so that cards do not change places with every point. */
export function byOpenness(a: Game, b: Game): number {
  const of = (game: Game) => Math.round(10 * openness(game.newest.final?.probability ?? 0.5));
  return of(b) - of(a) || byId(a, b);
}

export function byTipOff(a: Game, b: Game): number {
  return (a.shown?.tipOff ?? 0) - (b.shown?.tipOff ?? 0) || byId(a, b);
}

export function byId(a: Game, b: Game): number {
  return a.id.localeCompare(b.id);
}

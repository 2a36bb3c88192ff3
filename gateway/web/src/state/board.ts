/** Tonight's games from the record, loaded at the start and again after a break, as the stream lacks earlier outcomes. */
import { batch, createSignal } from "solid-js";
import { api, type Board } from "../api/client";
import { openness } from "../model/course";
import { later } from "./delay";
import { takeBoardGame, type Game } from "./games";
import { loadedUpTo, onRestart } from "./live";

const [tonight, setTonight] = createSignal<Board>();
const [failure, setFailure] = createSignal<unknown>();
export { tonight, failure };

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

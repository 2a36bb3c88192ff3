/** Tonight's games as the record has them, loaded once and again after a break: the stream alone tells no outcome of before. */
import { batch, createSignal } from "solid-js";
import { api, type Board } from "../api/client";
import { takeBoardGame } from "./games";
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
    batch(() => {
      board.games.forEach(takeBoardGame);
      setTonight(board);
      setFailure(undefined);
    });
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

import { render } from "solid-js/web";
import { App } from "./app";
import { loadTonight } from "./state/board";
import { start } from "./state/live";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/board.css";
import "./styles/game.css";
import "./styles/forms.css";
import "./styles/print.css";

const LATER_MS = 3000;
/** So long the stream waits for the board, whose position it goes on from: the same forecasts need not be sent twice. */
const BOARD_MS = 2000;

if (location.pathname === "/") void Promise.race([loadTonight(), new Promise((go) => setTimeout(go, BOARD_MS))]).then(start);
else {
  start();
  // Other pages need the board for what they say of the feed only: their own answers come first.
  setTimeout(() => void loadTonight(), location.pathname === "/system" ? 0 : LATER_MS);
}
const place = document.querySelector("#app") as HTMLElement;
// In a task of its own: a slow phone takes long enough to read the script.
setTimeout(() => {
  place.textContent = ""; // what stands there until this script has come
  render(() => <App />, place);
});

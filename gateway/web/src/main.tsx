import { render } from "solid-js/web";
import { App } from "./app";
import { loadTonight } from "./state/board";
import { start } from "./state/live";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/board.css";
import "./styles/game.css";
import "./styles/forms.css";
import "./styles/overlay.css";
import "./styles/print.css";

const LATER_MS = 3000;
/** Time for which the stream waits for the board, to start from its position: otherwise forecasts are sent twice. */
const BOARD_MS = 2000;

/** Pages of several games, which the board tells. */
const SEVERAL = /^\/(|board|overlay|overlay\/closest|overlay\/ticker)\/?$/;

if (SEVERAL.test(location.pathname)) void Promise.race([loadTonight(), new Promise((go) => setTimeout(go, BOARD_MS))]).then(start);
else {
  start();
  // Other pages need the board only for the state of the feed: their own answers come first.
  setTimeout(() => void loadTonight(), location.pathname === "/system" ? 0 : LATER_MS);
}
const place = document.querySelector("#app") as HTMLElement;
// In a task of its own: a slow phone takes long enough to read the script.
setTimeout(() => {
  place.textContent = ""; // the content of index.html, shown until the script has loaded
  render(() => <App />, place);
});

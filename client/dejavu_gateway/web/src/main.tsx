import { render } from "solid-js/web";
import { App } from "./app";
import { loadTonight } from "./state/board";
import { start } from "./state/live";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/board.css";
import "./styles/game.css";
import "./styles/forms.css";

const LATER_MS = 3000;

start();
// Other pages need the board for what they say of the feed only: their own answers come first.
setTimeout(() => void loadTonight(), location.pathname === "/" ? 0 : LATER_MS);
const place = document.querySelector("#app") as HTMLElement;
place.textContent = ""; // what stands there until this script has come
render(() => <App />, place);

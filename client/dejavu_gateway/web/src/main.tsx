import { render } from "solid-js/web";
import { App } from "./app";
import { loadTonight } from "./state/board";
import { start } from "./state/live";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/board.css";
import "./styles/pages.css";

start();
void loadTonight();
render(() => <App />, document.querySelector("#app") as HTMLElement);

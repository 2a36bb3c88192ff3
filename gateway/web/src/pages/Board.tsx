/** Four to eight games on a television: readable from four metres, chosen by themselves or by the address. */
import { createMemo, For, onCleanup, onMount, Show } from "solid-js";
import { AirOf } from "../components/AirGame";
import { Heading } from "../components/Frame";
import { boardOf, PARTS } from "../model/overlay";
import { query } from "../router";
import { createBoard, keepEvening } from "../state/air";
import { strings } from "../strings";

const said = strings.onAir;

export default function Board() {
  onMount(() => (document.documentElement.dataset.page = "board"));
  onCleanup(() => delete document.documentElement.dataset.page);
  keepEvening();
  const asked = createMemo(() => boardOf(query("games")));
  const chosen = createBoard(() => asked().count);
  const ids = () => asked().ids ?? chosen();
  const columns = () => [1, 1, 2, 2, 2, 3, 3, 4, 4][ids().length];
  return (
    <main class="tv" style={{ "--columns": columns() }}>
      <Heading hidden>{said.board}</Heading>
      <For each={ids()} fallback={<p class="tv-none">{said.none}</p>}>
        {(id) => (
          <article class="tv-game">
            <AirOf id={id} parts={PARTS} />
          </article>
        )}
      </For>
      <Show when={document.fullscreenEnabled}>
        <button type="button" class="tv-full" onClick={() => void document.documentElement.requestFullscreen().catch(() => undefined)}>
          {strings.game.fullScreen}
        </button>
      </Show>
    </main>
  );
}

/** A text whose unusual words link to the help page. */
import { For, Show } from "solid-js";
import { partsOf, WORDS } from "../words";

export function Words(props: { text: string }) {
  return (
    <For each={partsOf(props.text)}>
      {(part) => (
        <Show when={part.id} fallback={part.text}>
          {(id) => (
            <a class="word" href={`/help#${id()}`} title={WORDS[id()]?.says}>
              {part.text}
            </a>
          )}
        </Show>
      )}
    </For>
  );
}

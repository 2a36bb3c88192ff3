/** A figure with its name: the value large, its interval and notes below. */
import { For, Show } from "solid-js";
import { Words } from "./Words";

export function Stat(props: { name: string; value: string; notes: (string | undefined)[] }) {
  return (
    <div class="stat">
      <dt>
        <Words text={props.name} />
      </dt>
      <dd>
        <strong>{props.value.split(" [")[0]}</strong>
        <Show when={props.value.includes("[")}>
          <span class="sub">[{props.value.split("[")[1]}</span>
        </Show>
        <For each={props.notes}>
          {(note) => (
            <span class="sub note">
              <Words text={note ?? ""} />
            </span>
          )}
        </For>
      </dd>
    </div>
  );
}

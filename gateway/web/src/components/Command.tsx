/** A command to type, with a button that copies it. */
import { Show } from "solid-js";
import { strings } from "../strings";

export function Command(props: { command: string }) {
  return (
    <div class="command">
      <code>{props.command}</code>
      {/* Over plain HTTP browsers have no clipboard. */}
      <Show when={navigator.clipboard}>
        <button type="button" class="quiet" aria-label={`${strings.copy}: ${props.command}`} onClick={() => void navigator.clipboard.writeText(props.command)}>
          {strings.copy}
        </button>
      </Show>
    </div>
  );
}

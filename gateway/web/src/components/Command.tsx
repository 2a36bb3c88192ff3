/** What can be copied: a button, and commands to type with theirs. */
import { createSignal, For, Show } from "solid-js";
import { strings } from "../strings";

/** Copies, and says whether that was possible. Over plain HTTP browsers have no clipboard, and there is no button. */
export function Copy(props: { name?: string; label?: string; failed?: string; copy: (to: Clipboard) => Promise<void> }) {
  const [done, setDone] = createSignal("");
  const copy = async () => {
    setDone(await props.copy(navigator.clipboard).then(() => strings.copied, () => props.failed ?? ""));
    setTimeout(() => setDone(""), 2000);
  };
  return (
    <Show when={navigator.clipboard}>
      <button type="button" class="quiet" aria-label={props.label} onClick={() => void copy()}>
        <span aria-live="polite">{done() || (props.name ?? strings.copy)}</span>
      </button>
    </Show>
  );
}

export function Command(props: { command: string }) {
  return (
    <div class="row apart command">
      <code>{props.command}</code>
      <Copy label={`${strings.copy}: ${props.command}`} copy={(to) => to.writeText(props.command)} />
    </div>
  );
}

/** The commands that start something to see, each with what it does. */
export function Commands() {
  return (
    <For each={strings.commands}>
      {([command, text]) => (
        <>
          <p class="sub">{text}</p>
          <Command command={command} />
        </>
      )}
    </For>
  );
}

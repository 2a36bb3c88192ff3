/** One of a few choices, all visible. */
import { createUniqueId, For } from "solid-js";

export function Segmented<T extends string>(props: { label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void }) {
  const name = createUniqueId();
  return (
    <fieldset class="segmented">
      <legend>{props.label}</legend>
      <div class="segmented-options">
        <For each={props.options}>
          {([value, text]) => (
            <label>
              <input type="radio" name={name} checked={props.value === value} onChange={() => props.onChange(value)} />
              <span>{text}</span>
            </label>
          )}
        </For>
      </div>
    </fieldset>
  );
}

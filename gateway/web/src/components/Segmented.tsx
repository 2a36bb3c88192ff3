/** One of a few choices, all visible. */
import { createUniqueId, For } from "solid-js";
import type { Horizon } from "../model/types";
import { strings } from "../strings";

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

/** The choice between half and end. */
export function HorizonChoice(props: { label: string; value: Horizon; onChange: (value: Horizon) => void }) {
  const options = [
    ["half", strings.horizon.half ?? ""],
    ["final", strings.horizon.final ?? ""],
  ] as const;
  return <Segmented label={props.label} value={props.value} options={options} onChange={props.onChange} />;
}

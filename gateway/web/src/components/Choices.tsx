/** Choices in a form: one of a few, all visible; one of many, in a list; yes or no. */
import { createUniqueId, For, type JSX } from "solid-js";
import { TEAMS, teamName } from "../model/teams";
import type { Horizon } from "../model/types";
import { strings } from "../strings";
import { Words } from "./Words";

interface Choice<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onChange: (value: T) => void;
}

export function Segmented<T extends string>(props: Choice<T>) {
  const name = createUniqueId();
  return (
    <fieldset class="segmented">
      <legend class="sub">{props.label}</legend>
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
export function HorizonChoice(props: Omit<Choice<Horizon>, "options">) {
  return <Segmented {...props} options={[["half", strings.horizon.half ?? ""], ["final", strings.horizon.final ?? ""]]} />;
}

/** Something to fill in, below its name. */
export function Field(props: { label: string; children: JSX.Element }) {
  return (
    <label class="field">
      <span class="sub">{props.label}</span>
      {props.children}
    </label>
  );
}

export function Select<T extends string>(props: Choice<T>) {
  return (
    <Field label={props.label}>
      <select onChange={(event) => props.onChange(event.currentTarget.value as T)}>
        <For each={props.options}>
          {([value, text]) => (
            <option value={value} selected={props.value === value}>
              {text}
            </option>
          )}
        </For>
      </select>
    </Field>
  );
}

/** One of the thirty teams, or none. */
export function TeamSelect(props: Omit<Choice<string>, "options"> & { none: string }) {
  return <Select {...props} options={[["", props.none], ...TEAMS.map((team) => [team, `${team} ${teamName(team)}`] as const)]} />;
}

export function Check(props: { label: string; checked: boolean; onChange: (checked: boolean) => void }) {
  return (
    <label class="row check">
      <input type="checkbox" checked={props.checked} onChange={(event) => props.onChange(event.currentTarget.checked)} />
      <span>
        <Words text={props.label} />
      </span>
    </label>
  );
}

/** Values with their names: a figure, large, with its interval and notes below; and facts in rows. */
import { For, Show, type JSX } from "solid-js";
import { Words } from "./Words";

/** `answer` and `horizon`: what it is, for who looks for it. */
export function Stat(props: { name: string; value: string; notes?: readonly (string | undefined)[]; answer?: string; horizon?: string; title?: string; children?: JSX.Element }) {
  return (
    <div class="stat" title={props.title} data-answer={props.answer} data-horizon={props.horizon}>
      <dt class="sub">
        <Words text={props.name} />
      </dt>
      <dd>
        <strong>{props.value.split(" [")[0]}</strong>
        <Show when={props.value.includes("[")}>
          <span class="sub">[{props.value.split("[")[1]}</span>
        </Show>
        <For each={props.notes}>
          {(note) => (
            <span class="sub">
              <Words text={note ?? ""} />
            </span>
          )}
        </For>
        {props.children}
      </dd>
    </div>
  );
}

/** `good`: whether something that is checked is as it should be. */
export interface Fact {
  name: string;
  text: JSX.Element;
  good?: boolean;
}

export function Facts(props: { facts: readonly Fact[] }) {
  return (
    <dl class="checks">
      <For each={props.facts}>
        {(fact) => (
          <div data-good={fact.good}>
            <dt>{fact.name}</dt>
            <dd>{fact.text}</dd>
          </div>
        )}
      </For>
    </dl>
  );
}

/** One of the thirty teams, or none. */
import { For } from "solid-js";
import { TEAMS, teamName } from "../model/teams";

export function TeamSelect(props: { label: string; none: string; value: string; onChange: (team: string) => void }) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <select value={props.value} onChange={(event) => props.onChange(event.currentTarget.value)}>
        <option value="">{props.none}</option>
        <For each={TEAMS}>{(team) => <option value={team}>{`${team} ${teamName(team)}`}</option>}</For>
      </select>
    </label>
  );
}

/** The first day of a record whose operator removed earlier entries. */
import { Show } from "solid-js";
import { api } from "../api/client";
import { time } from "../api/convert";
import type { PrunedEntriesJson } from "../gen/dejavu/v1/retention_pb";
import { day } from "../model/format";
import { createLoaded } from "../state/load";
import { strings } from "../strings";

/** The day (UTC) of an instant of the contract, in words. */
function dayOf(instant: string | undefined): string {
  return day(new Date(time(instant)).toISOString().slice(0, 10));
}

export function RecordStart(props: { pruned: PrunedEntriesJson | undefined }) {
  return (
    <Show when={props.pruned}>
      {(pruned) => (
        <p class="record-start">{strings.record.since(dayOf(pruned().recordedBefore), dayOf(pruned().prunedTime))}</p>
      )}
    </Show>
  );
}

/** The same for an empty result: the entries may have been removed. */
export function RecordStartHere() {
  const answer = createLoaded(() => true, () => api.checkpoint());
  return <RecordStart pruned={answer.value()?.checkpoint?.pruned} />;
}

/** What the model's maker states about past seasons: all there is to see before a game has been settled. */
import { Show } from "solid-js";
import { api } from "../api/client";
import { statedErrors } from "../model/models";
import { createLoaded } from "../state/load";
import { strings } from "../strings";
import { Table } from "./Figure";

const said = strings.pastSeasons;

export function PastSeasons() {
  const answer = createLoaded(() => true, async () => {
    const [active] = (await api.models()).models ?? []; // whose metrics and reason only an answer of its own has
    return active?.version ? (await api.model(active.version)).model : undefined;
  });
  const rows = () => statedErrors(answer.value()?.metrics ?? []);
  return (
    <Show when={!answer.error() && answer.value()}>
      {(model) => (
        <section class="card">
          <h2>{said.title}</h2>
          <p class="verdict">
            {said.verdict[model().verdict ?? ""]} {model().verdictReason}
          </p>
          <Show when={rows().length}>
            <Table data={{ columns: said.columns, rows: rows() }} caption={said.title} />
            <p class="sub caption">{said.caption}</p>
          </Show>
          <p class="sub">{said.notMeasured}</p>
        </section>
      )}
    </Show>
  );
}

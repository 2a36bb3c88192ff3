/** The models of a server: champion, challengers, evidence, and changes with their authors. */
import { createSignal, For, Show } from "solid-js";
import { api } from "../api/client";
import { Select } from "../components/Choices";
import { Table, TableCard } from "../components/Figure";
import { PageHead, Pending } from "../components/Frame";
import { ModelComparison } from "../components/ModelComparison";
import { Facts } from "../components/Stat";
import { Words } from "../components/Words";
import type { ModelChangeJson } from "../gen/dejavu/v1/model_change_pb";
import type { ModelJson } from "../gen/dejavu/v1/model_service_pb";
import { changeRows, hasStore, modelRows } from "../model/models";
import { createLoaded } from "../state/load";
import { strings } from "../strings";

const said = strings.models;

/** Origin of a model, and the workers that have it loaded. */
function Origin(props: { models: readonly ModelJson[] }) {
  const newest = () => (props.models.find((model) => model.aliases?.includes("challenger")) ?? props.models[0])?.version ?? "";
  const [chosen, setChosen] = createSignal<string>();
  const version = () => chosen() ?? newest();
  const answer = createLoaded(version, (one) => api.model(one));
  const versions = () => props.models.map(({ version = "" }) => [version, version] as const);
  const facts = () => {
    const { model, replicas = [] } = answer.value() ?? {};
    const lineage = Object.entries(said.lineage).flatMap(([name, title]) => {
      const value = model?.lineage?.[name as keyof typeof said.lineage];
      return value ? [{ name: title, text: value }] : [];
    });
    const loaded = replicas.filter((one) => one.loaded).length;
    return [...lineage, ...(replicas.length ? [{ name: said.loadedBy, text: said.workers(loaded, replicas.length) }] : [])];
  };
  return (
    <section class="card">
      <h2>{said.origin}</h2>
      <Select label={said.columns[0] ?? ""} value={version()} options={versions()} onChange={setChosen} />
      <Show when={!answer.error() && answer.value()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
        <Facts facts={facts()} />
        <For each={(answer.value()?.replicas ?? []).filter((one) => one.error)}>{(one) => <p class="warning">{said.cannotLoad(one.worker ?? "", one.error ?? "")}</p>}</For>
      </Show>
    </section>
  );
}

function Changes() {
  const [page, setPage] = createSignal("");
  const [before, setBefore] = createSignal<ModelChangeJson[]>([]);
  const answer = createLoaded(page, async (token) => ({ token, ...(await api.modelChanges(token)) }));
  const newest = () => (answer.value()?.token === page() ? answer.value() : undefined);
  const changes = () => [...before(), ...(newest()?.changes ?? [])];
  const older = () => {
    const next = newest()?.nextPageToken;
    if (!next) return;
    setBefore(changes());
    setPage(next);
  };
  return (
    <section class="card">
      <h2>{said.changes}</h2>
      <Show when={answer.value()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
        <Show when={changes().length} fallback={<p class="pending">{said.changesNone}</p>}>
          <Table data={{ columns: said.changeColumns, rows: changeRows(changes()) }} caption={said.changes} />
          <p class="sub caption">{said.changesCaption}</p>
          <Show when={newest()?.nextPageToken}>
            <button type="button" onClick={older}>
              {said.older}
            </button>
          </Show>
        </Show>
      </Show>
    </section>
  );
}

export default function Models() {
  const answer = createLoaded(() => true, () => api.models());
  return (
    <>
      <PageHead title={said.title} intro={<Words text={said.intro} />}>
        <a href="/record">{said.back}</a>
      </PageHead>
      <div class="stack">
        <Show when={answer.value()?.models} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
          {(models) => (
            <>
              <TableCard title={said.list} data={{ columns: said.columns, rows: modelRows(models()) }} />
              <Show when={hasStore(models())} fallback={<p class="card">{said.noStore}</p>}>
                <ModelComparison models={models()} />
                <Origin models={models()} />
                <Changes />
              </Show>
            </>
          )}
        </Show>
      </div>
    </>
  );
}

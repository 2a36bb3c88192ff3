/** Comparison of two models on the same games: the result so far, and the evidence game by game. */
import { createMemo, createSignal, For, Show } from "solid-js";
import { api } from "../api/client";
import { num } from "../api/convert";
import { Chart } from "../charts/Chart";
import { evidenceData, evidenceOptions, type EvidencePoint } from "../charts/evidenceChart";
import type { ModelComparisonJson, ScoreComparisonJson } from "../gen/dejavu/v1/model_comparison_pb";
import type { ModelJson } from "../gen/dejavu/v1/model_service_pb";
import { fixed, percent } from "../model/format";
import { difference, evalue, pairs, verdict } from "../model/models";
import type { Horizon } from "../model/types";
import { status } from "../state/live";
import { createLoaded } from "../state/load";
import { strings } from "../strings";
import { Check, HorizonChoice, Select } from "./Choices";
import { Figure, Legend, readRow } from "./Figure";
import { Pending } from "./Frame";
import { Stat } from "./Stat";

const said = strings.models;
const DIGITS = { crps: 3, brier: 4 } as const;
type Score = keyof typeof DIGITS;
const SCORES: readonly Score[] = ["crps", "brier"];

function EvidenceFigure(props: { kind: Score; score: ScoreComparisonJson }) {
  const points = createMemo((): EvidencePoint[] =>
    (props.score.path ?? []).map((point) => ({ games: num(point.games), notWorse: num(point.notWorseEValue), worse: num(point.worseEValue) })),
  );
  const table = () => ({ columns: said.evidenceColumns, rows: points().map((point) => [`${point.games}`, evalue(point.notWorse), evalue(point.worse)]) });
  const legend = (["notWorse", "worse"] as const).map((kind) => [kind, said.legend[kind]] as const);
  return (
    <Figure title={said.evidenceTitle[props.kind]} caption={said.evidenceCaption} table={table} aside={<Legend entries={legend} />}>
      <Chart label={said.evidenceTitle[props.kind]} data={evidenceData(points())} options={evidenceOptions(points)} shape={`${points().length}`} read={(index) => readRow(table(), index)} />
    </Figure>
  );
}

function Result(props: { comparison: ModelComparisonJson; name: string; other: string; gate: boolean }) {
  const found = () => props.comparison;
  return (
    <>
      <p class="verdict">
        <strong>{verdict(found(), props.name, props.other, props.gate)}</strong>
        <Show when={props.gate && found().decisionReason}> {found().decisionReason}.</Show>
      </p>
      <Show when={num(found().games)} fallback={<p class="pending">{said.noGames}</p>}>
        <p class="sub">{said.counts(num(found().games), num(found().forecasts))}</p>
        <dl class="stats">
          <For each={SCORES}>
            {(kind) => (
              <Show when={found()[kind]}>
                {(one) => (
                  <Stat
                    name={said.scores[kind]}
                    value={fixed(num(one().score), DIGITS[kind])}
                    notes={[said.other(props.other, fixed(num(one().againstScore), DIGITS[kind])), strings.record.against(difference(one(), DIGITS[kind])), said.margin(fixed(num(one().margin), DIGITS[kind] + 1))]}
                  />
                )}
              </Show>
            )}
          </For>
          <For each={found().coverage ?? []}>
            {(one) => <Stat name={strings.record.coverage(percent(1 - num(one.alpha)))} value={percent(num(one.coverage), 1)} notes={[said.bound(num(found().games), percent(num(one.bound), 1))]} />}
          </For>
        </dl>
      </Show>
    </>
  );
}

export function ModelComparison(props: { models: readonly ModelJson[] }) {
  const [place, setPlace] = createSignal(0);
  const [horizon, setHorizon] = createSignal<Horizon>("final");
  const [ticked, setTicked] = createSignal<boolean>();
  const replays = () => ticked() ?? status()?.demo ?? false;
  const all = createMemo(() => pairs(props.models));
  const pair = () => all()[place()] ?? all()[0];
  const question = createMemo(() => {
    const chosen = pair();
    return chosen && { pair: chosen, horizon: horizon(), replays: replays() };
  });
  const answer = createLoaded(question, async ({ pair: chosen, horizon: at, replays: includeReplays }) => {
    const horizonName = at === "final" ? "HORIZON_FINAL" : "HORIZON_HALFTIME";
    const query = { modelVersion: chosen.model, againstVersion: chosen.against, horizon: horizonName, includeReplays };
    return { pair: chosen, comparison: (await api.comparison(query)).comparison ?? {} }; // names are never shown beside another pair's figures
  });
  const challenges = (version: string) => props.models.find((model) => model.version === version)?.stage === "MODEL_STAGE_STAGED";
  return (
    <>
      <section class="card">
        <h2>{said.comparison}</h2>
        <div class="row form-row">
          <Select label={said.pair} value={`${place()}`} options={all().map((one, index) => [`${index}`, said.against(one.name, one.other)] as const)} onChange={(one) => setPlace(Number(one))} />
          <HorizonChoice label={strings.record.horizon} value={horizon()} onChange={setHorizon} />
          <Check label={strings.record.replays} checked={replays()} onChange={setTicked} />
        </div>
        <Show when={!all().some((one) => props.models.some((model) => model.version === one.model && model.stage === "MODEL_STAGE_STAGED"))}>
          <p class="sub caption">{said.none}</p>
        </Show>
        <Show when={!answer.error() && answer.value()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
          {(found) => <Result comparison={found().comparison} name={found().pair.name} other={found().pair.other} gate={challenges(found().pair.model)} />}
        </Show>
      </section>
      <Show when={!answer.error() && answer.value()}>
        {(found) => (
          <div class="two-columns">
            <For each={SCORES.filter((kind) => found().comparison[kind]?.path?.length)}>
              {(kind) => <EvidenceFigure kind={kind} score={found().comparison[kind] ?? {}} />}
            </For>
          </div>
        )}
      </Show>
    </>
  );
}

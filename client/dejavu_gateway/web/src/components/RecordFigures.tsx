/** The charts of the record: whether probabilities and intervals hold what they say. */
import { createMemo, createSignal, Show } from "solid-js";
import { num } from "../api/convert";
import { Chart } from "../charts/Chart";
import { rangeData, rangeOptions, type RangeInput } from "../charts/rangeChart";
import { fixed, percent } from "../model/format";
import { brierBesideLeader, reliability } from "../model/reliability";
import { MINUTE_OF } from "../model/types";
import { createLoaded, type Loaded } from "../state/load";
import { mainCoverage, settled, type Filter, type Group } from "../state/record";
import { strings } from "../strings";
import { Figure } from "./Figure";
import { Pending } from "./Frame";

const said = strings.record;

/** One forecast a game makes the games independent trials; "any" is for short records. */
const MINUTES = { half: [6, 12, 18, 23], final: [6, 12, 18, 24, 36, 42, 47] } as const;

export function ReliabilityFigure(props: { filter: Filter }) {
  const [minute, setMinute] = createSignal<number>();
  const asked = createMemo(() => ({ filter: props.filter, minute: minute() !== undefined && (minute() as number) < MINUTE_OF[props.filter.horizon] ? minute() : undefined }));
  const answer = createLoaded(asked, ({ filter, minute: at }) => settled(filter, at));
  const predictions = () => answer.value()?.predictions ?? [];
  const bins = createMemo(() => reliability(predictions()));
  const games = createMemo(() => new Set(predictions().map((one) => one.forecast.gameId)).size);
  const brier = createMemo(() => brierBesideLeader(predictions()));
  const input = createMemo(
    (): RangeInput => ({
      points: bins().map((bin) => ({ x: bin.mean, y: bin.rate, lower: bin.lower, upper: bin.upper })),
      nominal: "diagonal",
      range: [0, 1],
    }),
  );
  const minuteText = () => (asked().minute === undefined ? said.everyMinuteText : said.afterMinute(asked().minute as number));
  const caption = () => {
    const beside = brier();
    return [
      said.reliabilityCaption(predictions().length, games()),
      beside ? said.leader(fixed(beside.leader, 3), fixed(beside.model, 3), minuteText(), beside.games) : "",
      answer.value()?.cut ? said.reliabilityCut(predictions().length) : "",
    ].join(" ");
  };
  const columns = said.columns;
  const table = () => ({
    columns: [columns.probability, columns.rate, columns.interval, columns.forecasts, columns.games],
    rows: bins().map((bin) => [percent(bin.mean, 1), percent(bin.rate, 1), `${percent(bin.lower, 1)} – ${percent(bin.upper, 1)}`, `${bin.forecasts}`, `${bin.games}`]),
  });
  const select = (
    <label class="check">
      {said.minuteOf}
      <select value={minute() ?? ""} onChange={(event) => setMinute(event.currentTarget.value ? Number(event.currentTarget.value) : undefined)}>
        <option value="">{said.everyMinute}</option>
        {MINUTES[props.filter.horizon].map((one) => (
          <option value={one}>{one}</option>
        ))}
      </select>
    </label>
  );
  return (
    <Figure title={said.reliabilityTitle} caption={caption()} table={table} aside={select}>
      <Show when={answer.value()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
        <div class="square">
          <Chart label={said.reliabilityLabel} size="tall" data={rangeData(input())} options={rangeOptions(input)} />
        </div>
      </Show>
    </Figure>
  );
}

export function CoverageFigure(props: { title: string; caption: (level: string) => string; groups: Loaded<Group[]> }) {
  const groups = createMemo(() =>
    (props.groups.value() ?? []).flatMap((group) => {
      const coverage = mainCoverage(group.card);
      return coverage ? [{ ...group, coverage }] : [];
    }),
  );
  const nominal = () => 1 - num(groups()[0]?.coverage.alpha ?? 0.05);
  const input = createMemo((): RangeInput => {
    const points = groups().map(({ coverage }, place) => ({
      x: place,
      y: num(coverage.coverage),
      lower: num(coverage.lower),
      upper: num(coverage.upper),
    }));
    const lowest = Math.min(nominal() - 0.05, ...points.map((point) => point.lower));
    return { points, labels: groups().map((group) => group.name), nominal: nominal(), range: [Math.floor(lowest * 20) / 20, 1] };
  });
  const columns = said.columns;
  const table = () => ({
    columns: [columns.group, columns.coverage, columns.interval, columns.mae, columns.persistence, columns.games, columns.forecasts],
    rows: groups().map(({ name, card, coverage }) => [
      name,
      percent(num(coverage.coverage), 1),
      `${percent(num(coverage.lower), 1)} – ${percent(num(coverage.upper), 1)}`,
      fixed(num(card.mae?.value), 2),
      fixed(num(card.persistenceMae?.value), 2),
      `${num(coverage.games)}`,
      `${num(coverage.forecasts)}`,
    ]),
  });
  return (
    <Figure title={props.title} caption={props.caption(percent(nominal()))} table={table}>
      <Show when={groups().length} fallback={<Pending error={props.groups.error()} retry={() => void props.groups.reload()} />}>
        <Chart
          label={`${props.title} ${said.coverageLabel}`}
          data={rangeData(input())}
          options={rangeOptions(input)}
          shape={[...(input().labels ?? []), ...input().range].join()}
        />
      </Show>
    </Figure>
  );
}

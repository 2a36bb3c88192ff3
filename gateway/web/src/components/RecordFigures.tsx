/** Charts of the record: calibration of the probabilities, and coverage of the intervals. */
import { createMemo, createSignal, Show } from "solid-js";
import { num } from "../api/convert";
import { Chart } from "../charts/Chart";
import { rangeData, rangeOptions, type RangeInput } from "../charts/rangeChart";
import { fixed, percent } from "../model/format";
import type { ScorecardJson } from "../gen/dejavu/v1/scorecard_pb";
import { createLoaded, type Loaded } from "../state/load";
import { afterMinute, mainCoverage, type Filter, type Group } from "../state/record";
import { strings } from "../strings";
import { Select } from "./Choices";
import { Figure, readRow } from "./Figure";
import { Pending } from "./Frame";

const said = strings.record;

/** Minutes to choose from: with one forecast a game, the trials are independent; "any" is for short records. */
const MINUTES = { half: [6, 12, 18, 23], final: [6, 12, 18, 24, 36, 42, 47] } as const;

export function ReliabilityFigure(props: { filter: Filter; all: ScorecardJson }) {
  const [chosen, setChosen] = createSignal<number>();
  const minute = () => MINUTES[props.filter.horizon].find((one) => one === chosen());
  const asked = createMemo(() => (minute() === undefined ? undefined : { filter: props.filter, minute: minute() as number }));
  const answer = createLoaded(asked, async ({ filter, minute: at }) => ({ minute: at, card: await afterMinute(filter, at) }));
  const card = () => (minute() === undefined ? props.all : answer.value()?.minute === minute() ? answer.value()?.card : undefined);
  const bins = () => card()?.reliability ?? [];
  const input = createMemo(
    (): RangeInput => ({
      points: bins().map((bin) => ({ x: num(bin.meanProbability), y: num(bin.rate), lower: num(bin.lower), upper: num(bin.upper) })),
      nominal: "diagonal",
      range: [0, 1],
    }),
  );
  const caption = () => {
    const { games, forecasts } = card() ?? {};
    return said.reliabilityCaption(num(forecasts), num(games));
  };
  const columns = said.columns;
  const table = () => ({
    columns: [columns.probability, columns.rate, columns.interval, columns.forecasts, columns.games],
    rows: bins().map((bin) => [
      percent(num(bin.meanProbability), 1),
      percent(num(bin.rate), 1),
      `${percent(num(bin.lower), 1)} – ${percent(num(bin.upper), 1)}`,
      `${num(bin.forecasts)}`,
      `${num(bin.games)}`,
    ]),
  });
  const minutes = () => [["", said.everyMinute] as const, ...MINUTES[props.filter.horizon].map((one) => [`${one}`, `${one}`] as const)];
  const select = <Select label={said.minuteOf} value={`${minute() ?? ""}`} options={minutes()} onChange={(one) => setChosen(Number(one))} />;
  return (
    <Figure title={said.reliabilityTitle} caption={caption()} table={table} aside={select}>
      <Show when={card()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
        <Chart label={said.reliabilityTitle} size="square" data={rangeData(input())} options={rangeOptions(input)} read={(index) => readRow(table(), index - 1)} />
      </Show>
    </Figure>
  );
}

export function CoverageFigure(props: { title: string; by: string; groups: Loaded<Group[]> }) {
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
    <Figure title={props.title} caption={said.coverageCaption(percent(nominal()), props.by)} table={table}>
      <Show when={groups().length} fallback={<Pending error={props.groups.error()} retry={() => void props.groups.reload()} none={props.groups.value() && said.coverageNone} />}>
        <Chart
          label={props.title}
          data={rangeData(input())}
          options={rangeOptions(input)}
          read={(index) => readRow(table(), index - 1)}
          shape={[...(input().labels ?? []), ...input().range].join()}
        />
      </Show>
    </Figure>
  );
}

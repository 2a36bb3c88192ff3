/** Chart of the probability of a win, with the last two minutes and overtime apart. */
import { createMemo, For, Show } from "solid-js";
import { Chart } from "../charts/Chart";
import { hasLastMinutes, LAST_MINUTES, winData, winOptions, type WinInput } from "../charts/winChart";
import { ofSameTeams } from "../model/course";
import { lead, percent } from "../model/format";
import { clockSpan, endOf } from "../model/play";
import { chanceText, reading } from "../model/reading";
import { swings } from "../model/story";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";

const said = strings.game;

export function winPoints(history: History) {
  return ofSameTeams(history.series("final")).map(({ forecast }) => ({ minute: forecast.minute, lead: forecast.lead ?? 0, probability: forecast.probability, sequence: forecast.sequence }));
}

/** `ends`: whether the last minutes are also drawn apart. */
export function WinChart(props: { history: History; moment: Moment; market?: WinInput["market"]; ends?: boolean }) {
  const input = createMemo((): WinInput => {
    const outcome = props.history.outcome("final");
    return {
      points: winPoints(props.history),
      swings: props.ends ? swings(winPoints(props.history)) : [],
      market: props.market?.length ? props.market : undefined,
      home: props.moment.home(),
      away: props.moment.away(),
      minute: props.moment.minute(),
      homeWon: outcome && outcome.differential > 0,
      overtimes: props.moment.overtimes(),
      start: 0,
    };
  });
  const lastMinutes = createMemo((): WinInput => ({ ...input(), swings: [], start: LAST_MINUTES }));
  const read = (one: WinInput, index: number) => {
    const data = winData(one);
    const [minute = 0, chance, market] = [data[0], data[3], data[4]].map((row) => row?.[index] ?? undefined);
    const outcome = props.history.outcome("final");
    if (outcome && minute === endOf(one.overtimes)) return [strings.age.final(outcome.overtimes), lead(outcome.differential, one.home, one.away)];
    if (chance === undefined && market === undefined) return [];
    const standing = props.moment.standing(minute);
    const known = standing.find((forecast) => forecast.minute === minute)?.lead;
    return [...reading(minute, known, standing, one), ...(market === undefined ? [] : [said.market(chanceText(market, one.home, one.away))])];
  };
  const shape = () => [input().minute, input().overtimes, input().home, input().away, input().market !== undefined].join();
  const now = () => percent(props.moment.shown().final?.forecast.probability ?? Number.NaN);
  const label = () => said.winLabel(props.moment.home(), now());
  return (
    <>
      <Chart label={label()} size="small" data={winData(input())} options={winOptions(input)} shape={shape()} read={(index) => read(input(), index)} />
      <Show when={input().swings.length}>
        <ul class="row sub">
          <For each={input().swings}>
            {({ from, to, percent: by }) => <li>{said.swing(said.rise(by > 0 ? input().home : input().away, Math.abs(by)), clockSpan(from.minute, to.minute))}</li>}
          </For>
        </ul>
      </Show>
      <Show when={props.ends && hasLastMinutes(input().points)}>
        <h3>{said.lastMinutes(input().overtimes > 0)}</h3>
        <Chart
          label={`${said.lastMinutes(input().overtimes > 0)}. ${label()}`}
          size="small"
          data={winData(lastMinutes())}
          options={winOptions(lastMinutes)}
          shape={shape()}
          read={(index) => read(lastMinutes(), index)}
        />
      </Show>
    </>
  );
}

/** Chart of the probability of a win, with the last two minutes and overtime apart. */
import { createMemo, Show } from "solid-js";
import { Chart } from "../charts/Chart";
import { hasLastMinutes, LAST_MINUTES, winData, winOptions, type WinInput } from "../charts/winChart";
import { percent } from "../model/format";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";

const said = strings.game;

export function winPoints(history: History) {
  return history.series("final").map(({ forecast }) => ({ minute: forecast.minute, lead: forecast.lead ?? 0, probability: forecast.probability, sequence: forecast.sequence }));
}

/** `ends`: whether the last minutes are also drawn apart. */
export function WinChart(props: { history: History; moment: Moment; market?: WinInput["market"]; ends?: boolean }) {
  const input = createMemo((): WinInput => {
    const outcome = props.history.outcome("final");
    return {
      points: winPoints(props.history),
      market: props.market,
      home: props.moment.home(),
      away: props.moment.away(),
      minute: props.moment.minute(),
      homeWon: outcome && outcome.differential > 0,
      overtimes: props.moment.overtimes(),
      start: 0,
    };
  });
  const lastMinutes = createMemo((): WinInput => ({ ...input(), start: LAST_MINUTES }));
  const shape = () => `${input().minute} ${input().overtimes} ${input().home} ${input().away}`;
  const now = () => percent(props.moment.shown().final?.forecast.probability ?? Number.NaN);
  const label = () => said.winLabel(props.moment.home(), now());
  return (
    <>
      <Chart label={label()} size="small" data={winData(input())} options={winOptions(input)} shape={shape()} />
      <Show when={props.ends && hasLastMinutes(input().points)}>
        <h3>{said.lastMinutes(input().overtimes > 0)}</h3>
        <Chart label={`${said.lastMinutes(input().overtimes > 0)}. ${label()}`} size="small" data={winData(lastMinutes())} options={winOptions(lastMinutes)} shape={shape()} />
      </Show>
    </>
  );
}

/** Fan chart of the lead: the lead so far and the intervals of the forecasts, with a table of all forecasts. */
import { createMemo, For } from "solid-js";
import { Chart } from "../charts/Chart";
import { fanData, fanOptions, type FanInput } from "../charts/fanChart";
import { covers } from "../model/course";
import { exact, lead, percent } from "../model/format";
import { timeCell } from "../model/play";
import type { Horizon } from "../model/types";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";
import { Figure } from "./Figure";

const said = strings.game;

export function FanChart(props: { moment: Moment; fill?: boolean }) {
  const input = createMemo((): FanInput => ({
    home: props.moment.home(),
    away: props.moment.away(),
    played: props.moment.played(),
    forecasts: props.moment.forecasts(),
    outcomes: props.moment.outcomes(),
    overtimes: props.moment.overtimes(),
    later: props.moment.later(),
    range: props.moment.range(),
  }));
  const sentence = (horizon: Horizon) => {
    const forecast = props.moment.shown()[horizon]?.forecast;
    if (!forecast) return "";
    const name = (value: number) => lead(value, input().home, input().away);
    return `${strings.atHorizon[horizon]} ${name(forecast.point)}, ${strings.tonight.interval(percent(1 - forecast.alpha), name(forecast.lower), name(forecast.upper))}.`;
  };
  const label = () => said.fanLabel(lead(props.moment.lead(), input().home, input().away, 0), sentence("half"), sentence("final"));
  return (
    <Chart
      label={label()}
      size={props.fill ? "fill" : "tall"}
      data={fanData(input())}
      options={fanOptions(input)}
      shape={[input().home, input().away, input().overtimes, ...input().range].join()}
    />
  );
}

export function FanLegend() {
  const words = said.legend;
  const entries = () => [
    ["played", words.played],
    ["forecast", words.forecast],
    ["band", words.band],
    ["outcome", words.outcome],
  ];
  return (
    <ul class="legend">
      <For each={entries()}>
        {([kind, text]) => (
          <li>
            <i class="key" data-kind={kind} aria-hidden="true" />
            {text}
          </li>
        )}
      </For>
    </ul>
  );
}

export function FanFigure(props: { history: History; moment: Moment }) {
  const name = (value: number, digits = 1) => lead(value, props.moment.home(), props.moment.away(), digits);
  const columns = said.columns;
  const table = () => ({
    columns: [columns.minute, columns.horizon, columns.lead, columns.point, columns.lower, columns.upper, columns.probability, columns.made, columns.held],
    rows: props.history.predictions().map(({ forecast }) => {
      const outcome = props.history.outcome(forecast.horizon);
      return [
        timeCell(forecast.minute),
        strings.horizon[forecast.horizon] ?? "",
        name(forecast.lead ?? 0, 0),
        name(forecast.point),
        name(forecast.lower),
        name(forecast.upper),
        percent(forecast.probability, 1),
        exact(forecast.generated),
        outcome ? (covers(forecast, outcome.differential) ? said.yes : said.no) : "–",
      ];
    }),
  });
  const caption = () => (props.moment.overtimeUnforecast() ? `${said.fanCaption} ${said.overtime(props.moment.overtimes())}` : said.fanCaption);
  return (
    <Figure title={said.fanTitle} caption={caption()} table={table} aside={<FanLegend />}>
      <FanChart moment={props.moment} />
    </Figure>
  );
}

/** Fan chart of the lead: the lead so far and the intervals of the forecasts, with a table of all forecasts. */
import { createMemo } from "solid-js";
import { Chart } from "../charts/Chart";
import { fanData, fanOptions, type FanInput } from "../charts/fanChart";
import { covers } from "../model/course";
import { LEVELS } from "../model/fan";
import { exact, percent } from "../model/format";
import { endOf, gameClock, timeCell } from "../model/play";
import { reading } from "../model/reading";
import type { Forecast } from "../model/types";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";
import { Figure, Legend } from "./Figure";

const said = strings.game;

export function FanChart(props: { moment: Moment; fill?: boolean }) {
  const input = createMemo((): FanInput => ({
    home: props.moment.home(),
    away: props.moment.away(),
    played: props.moment.played(),
    forecasts: props.moment.ended() ? [] : props.moment.forecasts(), // the last second's say nothing of the game
    outcomes: props.moment.outcomes(),
    overtimes: props.moment.overtimes(),
    later: props.moment.later(),
    range: props.moment.range(),
  }));
  const name = props.moment.named;
  const statement = (one: Forecast) => `${strings.atHorizon[one.horizon]} ${name(one.point)}, ${strings.tonight.interval(percent(1 - one.alpha), name(one.lower), name(one.upper))}`;
  const data = createMemo(() => fanData(input()));
  const read = (index: number) => {
    const [minute = 0, played, later, , ...edges] = data().map((row) => row[index] ?? undefined);
    const { home, away, overtimes } = input();
    const known = played ?? later;
    const bands = LEVELS.flatMap((level, place) => {
      const [upper, lower] = [edges[2 * place], edges[2 * place + 1]];
      return upper === undefined || lower === undefined || upper === lower ? [] : [strings.tonight.interval(percent(level), name(lower), name(upper))];
    });
    const came = input().outcomes.find((one) => one.minute === minute);
    const time = minute === endOf(overtimes) ? strings.atHorizon.final ?? "" : gameClock(minute);
    const standing = props.moment.standing(minute);
    const lines = known === undefined ? [time] : [...reading(minute, known, standing, { home, away }), ...standing.map(statement)];
    if (came) lines.push(`${said.legend.outcome}: ${name(came.differential)}`);
    if (bands.length) lines.push(said.fromHere(props.moment.minute()), ...bands);
    return lines.length > 1 ? lines : [];
  };
  const label = () => said.fanLabel(name(props.moment.lead(), 0), input().forecasts.map((one) => `${statement(one)}.`).join(" "));
  return (
    <Chart
      label={label()}
      size={props.fill ? "fill" : "tall"}
      data={data()}
      read={read}
      options={fanOptions(input)}
      shape={[input().home, input().away, input().overtimes, ...input().range].join()}
    />
  );
}

/** `over`: no forecast is drawn. */
export function FanLegend(props: { over?: boolean }) {
  const words = said.legend;
  const entries = () => [["played", words.played], ...(props.over ? [] : [["forecast", words.forecast], ["band", words.band]] as const), ["outcome", words.outcome]] as const;
  return <Legend entries={entries()} />;
}

export function FanFigure(props: { history: History; moment: Moment }) {
  const name = props.moment.named;
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
  const over = () => props.moment.ended() !== undefined;
  const caption = () => [over() ? said.fanOver : said.fanCaption, ...(props.moment.overtimeUnforecast() ? [said.overtime(props.moment.overtimes())] : [])].join(" ");
  return (
    <Figure title={said.fanTitle} caption={caption()} table={table} aside={<FanLegend over={over()} />}>
      <FanChart moment={props.moment} />
    </Figure>
  );
}

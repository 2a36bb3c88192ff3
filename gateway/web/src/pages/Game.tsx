/** One game: similar games, fan, probability of a win, terms of the forecast, and coverage. */
import { createMemo, For, Show } from "solid-js";
import { barData, barOptions, type Bar } from "../charts/barChart";
import { Chart } from "../charts/Chart";
import { Copy } from "../components/Command";
import { DejaVu } from "../components/DejaVu";
import { FanFigure } from "../components/FanFigure";
import { Figure, readRow, Table } from "../components/Figure";
import { Heading, Pending } from "../components/Frame";
import { MarketCard, marketCourse } from "../components/MarketBeside";
import { Scoreboard } from "../components/Scoreboard";
import { Scrubber } from "../components/Scrubber";
import { corrections } from "../model/course";
import { exact, percent } from "../model/format";
import { REGULATION, timeCell } from "../model/play";
import { teamStyle } from "../model/teams";
import { nowText } from "../components/ShownGame";
import { WinChart, winPoints } from "../components/WinChart";
import { createWithCourses } from "../state/courses";
import { game as known } from "../state/games";
import { createHistory, type History } from "../state/history";
import { createMoment, type Moment } from "../state/moment";
import { strings } from "../strings";

const said = strings.game;

interface Parts {
  history: History;
  moment: Moment;
}

function WinFigure(props: Parts) {
  const market = createMemo(() => marketCourse(props.history));
  const table = () => ({
    columns: [said.columns.minute, said.columns.lead, strings.tonight.wins(props.moment.home()), ...(market().length ? [strings.market.wins(props.moment.home())] : [])],
    rows: winPoints(props.history).map((point) => [
      timeCell(point.minute),
      props.moment.named(point.lead, 0),
      percent(point.probability, 1),
      ...(market().length ? [percent(market().find((one) => one.minute === point.minute)?.probability ?? Number.NaN, 1)] : []),
    ]),
  });
  return (
    <Figure title={said.winTitle} caption={`${said.winCaption(props.moment.home(), props.moment.away())}${market().length ? ` ${strings.market.course}` : ""}`} table={table}>
      <WinChart history={props.history} moment={props.moment} market={market()} ends />
    </Figure>
  );
}

function ReasonFigure(props: Parts) {
  const bars = createMemo((): Bar[] => {
    const terms = props.moment.explained()?.attribution;
    if (!terms) return [];
    return [
      { name: said.beforeTipoff, value: terms.beforeTipoff },
      ...terms.minutes.map((value, index) => ({ name: `${index + 1}′`, value })),
      ...(terms.components ? [{ name: said.others, value: terms.components }] : []),
    ];
  });
  const inOvertime = () => props.moment.minute() >= REGULATION;
  const title = () => (inOvertime() ? said.reasonOvertime : props.moment.explained()?.horizon === "half" ? said.reasonHalf : said.reason);
  const minutes = () => props.moment.explained()?.attribution?.minutes.length ?? 0;
  const longName = (index: number) => (index === 0 ? said.beforeTipoffLong : index > minutes() ? said.othersLong : `${index}`);
  const name = props.moment.named;
  const table = () => ({ columns: [said.minute, said.changedBy], rows: bars().map((bar, index) => [longName(index), name(bar.value, 2)]) });
  const ranked = () => ({
    columns: [said.whatMoved, said.changedBy],
    rows: (props.moment.explained()?.contributions ?? []).map((each) => [said.contribution[each.name] ?? each.name, name(each.points)]),
  });
  const components = () => (props.moment.explained()?.components ?? []).map((each) => said.component(said.contribution[each.name] ?? each.name, each.weight ? percent(each.weight) : said.noPart, name(each.points)));
  return (
    <Show when={bars().length}>
      <Figure title={title()} caption={`${inOvertime() ? said.noReasons : ""}${said.reasonCaption(minutes(), components())}`} table={table}>
        <Table data={ranked()} caption={said.ranked} />
        <Chart label={title()} size="small" data={barData(bars())} options={barOptions(bars, props.moment.home, props.moment.away)} shape={`${bars().length}`} read={(index) => readRow(table(), index)} />
      </Figure>
    </Show>
  );
}

function CorrectionsCard(props: Parts) {
  const found = createMemo(() => corrections(props.history.predictions()));
  const name = props.moment.named;
  return (
    <Show when={found().length}>
      <section class="card">
        <h2>{said.corrections}</h2>
        <ul class="corrections">
          <For each={found()}>
            {(one) => (
              <li>
                {said.correction(one.minute, strings.horizon[one.horizon] ?? "")}:{" "}
                {said.correctionFrom(name(one.from.pattern.at(-1) ?? 0, 0), name(one.to.pattern.at(-1) ?? 0, 0))},{" "}
                {said.correctionPoint(name(one.from.forecast.point), name(one.to.forecast.point))}
                <span class="sub"> {exact(one.to.forecast.generated)}</span>
              </li>
            )}
          </For>
        </ul>
      </section>
    </Show>
  );
}

export default function Game(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history, () => known(props.id)?.shown);
  const explained = createWithCourses(moment.explained);
  const unknown = () => history.loaded.value() !== undefined && !history.predictions().length;
  const state = () => known(props.id)?.shown;
  const title = () => {
    const now = state();
    if (!now || now.status === "scheduled" || now.status === "postponed" || !moment.following()) return said.title(moment.away(), moment.home());
    return said.titleWithScore(moment.away(), now.awayScore, moment.home(), now.homeScore);
  };
  const picture = () => `/share/game/${props.id}.png?minute=${moment.minute()}`;
  // Programs take pasted pictures. The promise, not its result: Safari lets nothing be copied later than the click.
  const copyPicture = (to: Clipboard) => {
    const loaded = fetch(picture()).then((answer) => (answer.ok ? answer.blob() : Promise.reject(new Error(answer.statusText))));
    return to.write([new ClipboardItem({ "image/png": loaded })]);
  };
  const error = () => (history.predictions().length ? undefined : history.loaded.error());
  return (
    <Show
      when={history.minutes().length}
      fallback={
        <>
          <Heading>{history.onlyLate() ? said.title(moment.away(), moment.home()) : state() ? said.title(state()!.away, state()!.home) : props.id}</Heading>
          <Show when={state()}>{(now) => <p class="sub">{nowText(now())}</p>}</Show>
          <Show when={unknown() || history.onlyLate()} fallback={<Pending error={error()} retry={history.reload} />}>
            <p class="pending">{history.onlyLate() ? said.onlyLate : state() ? said.notYet : said.unknown}</p>
          </Show>
        </>
      }
    >
      <Heading hidden>{title()}</Heading>
      <div class="stack teams" style={teamStyle(moment.home(), moment.away())}>
        <Scoreboard id={props.id} history={history} moment={moment} />
        <Scrubber history={history} moment={moment} />
        <Show when={explained()?.similar.length ? explained() : undefined}>
          {(forecast) => <DejaVu title={strings.dejavu.title} forecast={forecast()} played={moment.played().filter((one) => one.minute <= REGULATION)} overtime={moment.minute() >= REGULATION} home={moment.home()} away={moment.away()} />}
        </Show>
        <FanFigure history={history} moment={moment} />
        <MarketCard id={props.id} history={history} moment={moment} />
        <WinFigure history={history} moment={moment} />
        <ReasonFigure history={history} moment={moment} />
        <CorrectionsCard history={history} moment={moment} />
        <p class="sub page-foot">
          <Show when={document.fullscreenEnabled}>
            <button type="button" class="quiet" onClick={() => void document.documentElement.requestFullscreen().catch(() => undefined)}>
              {said.fullScreen}
            </button>{" "}
            ·{" "}
          </Show>
          <a href={`/embed/game/${props.id}`}>{said.embed}</a> · <a href={`/overlay?game=${props.id}`}>{said.overlay}</a> · <a href={`/share/game/${props.id}.svg?minute=${moment.minute()}`}>{said.share}</a> ·{" "}
          <a href={picture()}>{said.picture}</a>
          <Show when={window.ClipboardItem && navigator.clipboard}>
            {" "}
            · <Copy name={said.copyPicture} failed={said.notCopied} copy={copyPicture} />
          </Show>
        </p>
      </div>
    </Show>
  );
}

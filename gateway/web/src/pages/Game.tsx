/** One game: fan, similar games, probability of a win, terms of the forecast, and coverage. */
import { createMemo, createSignal, For, Show } from "solid-js";
import { api } from "../api/client";
import { forecast as toForecast } from "../api/convert";
import { barData, barOptions, type Bar } from "../charts/barChart";
import { Chart } from "../charts/Chart";
import { FanFigure } from "../components/FanFigure";
import { Figure, Table } from "../components/Figure";
import { Heading, Pending } from "../components/Frame";
import { MarketCard, marketCourse } from "../components/MarketBeside";
import { Scoreboard } from "../components/Scoreboard";
import { Scrubber } from "../components/Scrubber";
import { corrections, covers, held } from "../model/course";
import { exact, expected, lead, percent } from "../model/format";
import { timeCell } from "../model/play";
import { teamStyle } from "../model/teams";
import { HORIZONS, type Score } from "../model/types";
import { nowText } from "../components/ShownGame";
import { WinChart, winPoints } from "../components/WinChart";
import { game as known } from "../state/games";
import { createHistory, type History } from "../state/history";
import { createLoaded } from "../state/load";
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
      lead(point.lead, props.moment.home(), props.moment.away(), 0),
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
  const title = () => (props.moment.explained()?.horizon === "half" ? said.reasonHalf : said.reason);
  const minutes = () => props.moment.explained()?.attribution?.minutes.length ?? 0;
  const longName = (index: number) => (index === 0 ? said.beforeTipoffLong : index > minutes() ? said.othersLong : `${said.minute} ${index}`);
  const name = (value: number, digits = 1) => lead(value, props.moment.home(), props.moment.away(), digits);
  const table = () => ({ columns: [said.minute, said.changedBy], rows: bars().map((bar, index) => [longName(index), name(bar.value, 2)]) });
  const ranked = () => ({
    columns: [said.whatMoved, said.changedBy],
    rows: (props.moment.explained()?.contributions ?? []).map((each) => [said.contribution[each.name] ?? each.name, name(each.points)]),
  });
  const components = () => (props.moment.explained()?.components ?? []).map((each) => said.component(said.contribution[each.name] ?? each.name, each.weight ? percent(each.weight) : said.noPart, name(each.points)));
  return (
    <Show when={bars().length}>
      <Figure title={title()} caption={said.reasonCaption(minutes(), components())} table={table}>
        <Table data={ranked()} caption={said.ranked} />
        <Chart label={said.reasonLabel} size="small" data={barData(bars())} options={barOptions(bars, props.moment.home, props.moment.away)} shape={`${bars().length}`} />
      </Figure>
    </Show>
  );
}

function SimilarCard(props: Parts & { drawn: boolean; onDraw: (drawn: boolean) => void }) {
  const games = () => props.moment.explained()?.similar ?? [];
  const horizon = () => strings.horizon[props.moment.explained()?.horizon ?? "final"] ?? "";
  const score = (of: Score | undefined, mirrored: boolean) => (of ? (mirrored ? `${of[1]}–${of[0]}` : `${of[0]}–${of[1]}`) : "–");
  const table = () => ({
    columns: said.similarColumns(horizon()),
    rows: games().map((game) => [
      said.similarName(game.label, game.mirrored),
      score(game.score, game.mirrored),
      game.mirrored ? expected(game.atHorizon, game.away, game.home) : expected(game.atHorizon, game.home, game.away),
      score(game.final, game.mirrored),
    ]),
  });
  const caption = () => said.similarCaption(props.moment.home(), games().some((game) => game.mirrored));
  return (
    <section class="card similar">
      <div class="figure-head">
        <h2>{said.similarTitle}</h2>
        <label class="check">
          <input type="checkbox" checked={props.drawn} onChange={(event) => props.onDraw(event.currentTarget.checked)} />
          {said.showCourses}
        </label>
      </div>
      <Show when={props.moment.explained()?.summary}>
        {(summary) => <p>{said.similarSummary(summary(), props.moment.explained()?.lead ?? 0, horizon(), percent)}</p>}
      </Show>
      <Show when={games().length} fallback={<p>{said.similarNone}</p>}>
        <Table data={table()} caption={said.similarTitle} />
        <p class="caption">{caption()}</p>
      </Show>
    </section>
  );
}

function HeldCard(props: Parts) {
  const settled = () => HORIZONS.filter((horizon) => props.history.outcome(horizon) && props.history.series(horizon).length);
  return (
    <Show when={settled().length}>
      <section class="card">
        <h2>{said.held}</h2>
        <For each={settled()}>
          {(horizon) => {
            const outcome = () => props.history.outcome(horizon);
            const share = () => held(props.history.series(horizon), outcome()!);
            const name = () => strings.horizon[horizon] ?? "";
            const came = () =>
              lead(outcome()?.differential ?? 0, props.moment.home(), props.moment.away(), 0) + (outcome()?.overtimes ? said.afterOvertime : "");
            const now = () => props.moment.shown()[horizon]?.forecast;
            const words = () => {
              const one = now();
              const standing = outcome();
              if (!one || !standing) return "";
              return said.heldShown(covers(one, standing.differential), percent(1 - one.alpha));
            };
            return (
              <Show when={outcome()}>
                <p>
                  {said.heldShare(name(), came(), share().held, share().of)} {words()}
                </p>
              </Show>
            );
          }}
        </For>
      </section>
    </Show>
  );
}

function CorrectionsCard(props: Parts) {
  const found = createMemo(() => corrections(props.history.predictions()));
  const name = (value: number, digits = 1) => lead(value, props.moment.home(), props.moment.away(), digits);
  return (
    <Show when={found().length}>
      <section class="card">
        <h2>{said.corrections}</h2>
        <ul class="plain">
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

/** Copies the picture itself, for programs that take pasted pictures; browsers allow that over HTTPS and on this machine only. */
function CopyPicture(props: { url: string }) {
  const [done, setDone] = createSignal<string>();
  const copy = async () => {
    // The promise, not its result: Safari lets nothing be copied later than the click.
    const loaded = fetch(props.url).then((answer) => (answer.ok ? answer.blob() : Promise.reject(new Error(answer.statusText))));
    setDone(await navigator.clipboard.write([new ClipboardItem({ "image/png": loaded })]).then(() => said.copied, () => said.notCopied));
  };
  return (
    <>
      <button type="button" class="quiet" onClick={() => void copy()}>
        {said.copyPicture}
      </button>
      <span role="status">{done() && ` ${done()}`}</span>
    </>
  );
}

export default function Game(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history);
  /** Whether the shown forecast came with the courses of its similar games, as the newest one does from the stream. */
  const complete = () => moment.explained()?.similar.some((game) => game.course.length) ?? false;
  const [chosen, setChosen] = createSignal<boolean>();
  const drawn = () => chosen() ?? complete();
  const asked = createMemo(() => (drawn() && !complete() ? moment.explained() : undefined));
  const withCourses = createLoaded(asked, async ({ gameId, horizon, minute }) => {
    const query = { horizon: horizon === "final" ? "HORIZON_FINAL" : "HORIZON_HALFTIME", elapsedMinutes: minute };
    return toForecast((await api.prediction(gameId, query)).prediction?.forecast ?? {});
  });
  const similar = () => {
    const [shown, loaded] = [drawn() ? moment.explained() : undefined, withCourses.value()];
    return (asked() && loaded?.sequence === shown?.sequence ? loaded : shown)?.similar ?? [];
  };
  const unknown = () => history.loaded.value() !== undefined && !history.predictions().length;
  const state = () => known(props.id)?.shown;
  const title = () => {
    const now = state();
    if (!now || now.status === "scheduled" || now.status === "postponed" || !moment.following()) return said.title(moment.away(), moment.home());
    return said.titleWithScore(moment.away(), now.awayScore, moment.home(), now.homeScore);
  };
  const picture = () => `/share/game/${props.id}.png?minute=${moment.minute()}`;
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
      <div class="game-page teams" style={teamStyle(moment.home(), moment.away())}>
        <Scoreboard id={props.id} history={history} moment={moment} />
        <Scrubber history={history} moment={moment} />
        <FanFigure history={history} moment={moment} similar={similar()} />
        <SimilarCard history={history} moment={moment} drawn={drawn()} onDraw={setChosen} />
        <MarketCard id={props.id} history={history} moment={moment} />
        <WinFigure history={history} moment={moment} />
        <ReasonFigure history={history} moment={moment} />
        <HeldCard history={history} moment={moment} />
        <CorrectionsCard history={history} moment={moment} />
        <p class="page-foot">
          <Show when={document.fullscreenEnabled}>
            <button type="button" class="quiet" onClick={() => void document.documentElement.requestFullscreen().catch(() => undefined)}>
              {said.fullScreen}
            </button>{" "}
            ·{" "}
          </Show>
          <a href={`/embed/game/${props.id}`}>{said.embed}</a> · <a href={`/overlay/game/${props.id}`}>{said.overlay}</a> · <a href={`/share/game/${props.id}.svg?minute=${moment.minute()}`}>{said.share}</a> ·{" "}
          <a href={picture()}>{said.picture}</a>
          <Show when={window.ClipboardItem && navigator.clipboard}>
            {" "}
            · <CopyPicture url={picture()} />
          </Show>
        </p>
      </div>
    </Show>
  );
}

/** The record: accuracy of the forecasts with intervals, and a way to check that nothing was changed. */
import { createMemo, createSignal, For, Show } from "solid-js";
import { api } from "../api/client";
import { num } from "../api/convert";
import { Bets } from "../components/Bets";
import { Check, HorizonChoice, Segmented, TeamSelect } from "../components/Choices";
import { Checkpoint } from "../components/Checkpoint";
import { CoverageFigure, ReliabilityFigure } from "../components/RecordFigures";
import { TableCard } from "../components/Figure";
import { PageHead, Pending } from "../components/Frame";
import { PastSeasons } from "../components/PastSeasons";
import { Stat } from "../components/Stat";
import { Words } from "../components/Words";
import type { GetLeaderboardResponseJson } from "../gen/dejavu/v1/record_service_pb";
import type { ScorecardJson } from "../gen/dejavu/v1/scorecard_pb";
import { figure, fixed, percent, signed } from "../model/format";
import { status } from "../state/live";
import { createLoaded, type Loaded } from "../state/load";
import { evening } from "../state/board";
import { afterMinute, beware, byMinutes, byMonths, CALLED_AFTER, calls, conditions, forecastsFile, mainCoverage, type Filter, type Period } from "../state/record";
import { strings } from "../strings";

const said = strings.record;
/** Games of a group below which nothing is claimed. */
const ENOUGH = 20;

function Overview(props: { card: ScorecardJson }) {
  const card = () => props.card;
  return (
    <section class="card">
      <p class="sub">{said.counts(num(card().games), num(card().forecasts))}</p>
      <dl class="stats">
        <For each={card().coverage ?? []}>
          {(one) => (
            <Stat
              name={said.coverage(percent(1 - num(one.alpha)))}
              value={`${percent(num(one.coverage), 1)} [${percent(num(one.lower), 1)}, ${percent(num(one.upper), 1)}]`}
              notes={[said.coverageNote(num(one.games), fixed(num(one.meanWidth)))]}
            />
          )}
        </For>
        <Stat
          name={said.mae}
          value={figure(card().mae, 2)}
          notes={[`${said.persistence}: ${figure(card().persistenceMae, 2)}`, said.against(figure(card().maeDifference, 2, signed))]}
        />
        <Show when={card().crps}>
          <Stat name={said.crps} value={figure(card().crps, 2)} notes={[said.crpsNote]} />
        </Show>
        <Stat
          name={said.brier}
          value={figure(card().brier, 3)}
          notes={card().leaderBrier ? [`${said.leader}: ${figure(card().leaderBrier, 3)}`, said.against(figure(card().brierDifference, 3, signed))] : []}
        />
        <Stat name={said.ece} value={fixed(num(card().ece), 3)} notes={[said.eceNote]} />
      </dl>
    </section>
  );
}

function Leaderboard(props: { answer: Loaded<GetLeaderboardResponseJson> }) {
  const columns = said.columns;
  const table = () => ({
    columns: [columns.rank, columns.model, columns.games, columns.crps, columns.mae, columns.persistence, columns.brier, columns.coverage],
    rows: (props.answer.value()?.rows ?? []).map(({ rank, modelVersion, scorecard: card }) => {
      const coverage = card && mainCoverage(card);
      return [
        `${rank}`,
        modelVersion ?? "",
        num(card?.games).toLocaleString(),
        figure(card?.crps, 2),
        figure(card?.mae, 2),
        figure(card?.persistenceMae, 2),
        figure(card?.brier, 3),
        coverage ? percent(num(coverage.coverage), 1) : "–",
      ];
    }),
  });
  return (
    <Show when={props.answer.value()?.rows?.length}>
      <TableCard title={said.leaderboard} data={table()} caption={said.leaderboardCaption} />
    </Show>
  );
}

export default function Record_() {
  const [horizon, setHorizon] = createSignal<Filter["horizon"]>("final");
  const [period, setPeriod] = createSignal<Period>("all");
  const [team, setTeam] = createSignal("");
  const [ticked, setTicked] = createSignal<boolean>();
  const replays = () => ticked() ?? status()?.demo ?? false;
  const filter = createMemo((): Filter => ({ horizon: horizon(), period: period(), team: team(), replays: replays() }));
  const card = createLoaded(filter, async (chosen) => (await api.scorecard(conditions(chosen))).scorecard ?? {});
  const scored = () => (num(card.value()?.games) ? filter() : undefined);
  const minutes = createLoaded(scored, byMinutes);
  const months = createLoaded(scored, (chosen) => byMonths(chosen, evening()));
  const leaders = createLoaded(scored, (chosen) => api.leaderboard({ ...conditions(chosen), metric: "LEADERBOARD_METRIC_CRPS", minGames: 1 }));
  const halves = createLoaded(() => (horizon() === "final" ? scored() : undefined), async (chosen) => ({ chosen, card: await afterMinute(chosen, CALLED_AFTER) }));
  const opening = () => {
    const answer = halves.value();
    if (!scored() || answer?.chosen !== filter()) return "";
    const found = calls(answer.card.reliability ?? []);
    return found && found.games >= ENOUGH ? said.called(found.games, found.tenths, found.won, percent(found.won / found.games)) : said.few(num(card.value()?.games));
  };
  const periods = Object.entries(said.periods) as [Period, string][];
  return (
    <>
      <PageHead title={strings.pages["/record"]} intro={<Words text={said.intro} />}>
        <a href="/models">{strings.models.link}</a>
      </PageHead>
      <div class="stack">
        <p class="opening">{opening()}</p>
        <section class="card" aria-label={said.filters}>
          <div class="row form-row">
            <HorizonChoice label={said.horizon} value={horizon()} onChange={setHorizon} />
            <Segmented label={said.period} value={period()} options={periods} onChange={setPeriod} />
            <TeamSelect label={said.team} none={said.anyTeam} value={team()} onChange={setTeam} />
            <Check label={said.replays} checked={replays()} onChange={setTicked} />
            <a href={forecastsFile(filter(), "csv")} download="">
              {said.download}
            </a>
            <Show when={status()?.parquet}>
              <a href={forecastsFile(filter(), "parquet")} download="">
                {said.downloadParquet}
              </a>
            </Show>
          </div>
        </section>
        <Show when={!card.error() && card.value()} fallback={<Pending error={card.error()} retry={() => void card.reload()} />}>
          {(ready) => (
            <>
              <Show when={said.doubts(...beware(ready()))}>{(doubts) => <p class="doubts"><Words text={doubts()} /></p>}</Show>
              <Show
                when={num(ready().games)}
                fallback={
                  <p class="pending">
                    {said.empty} {replays() ? "" : said.emptyReplays}
                  </p>
                }
              >
                <Overview card={ready()} />
                <div class="two-columns record-figures">
                  <ReliabilityFigure filter={filter()} all={ready()} />
                  <CoverageFigure title={said.byMinuteTitle} by={said.byMinute} groups={minutes} />
                  <CoverageFigure title={said.byMonthTitle} by={said.byMonth} groups={months} />
                </div>
                <Show when={ready().market}>
                  <Bets filter={filter()} />
                </Show>
                <Leaderboard answer={leaders} />
              </Show>
              <PastSeasons />
            </>
          )}
        </Show>
        <Show when={card.value() || card.error()}>
          <Checkpoint />
        </Show>
      </div>
    </>
  );
}

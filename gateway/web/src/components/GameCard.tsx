/** One game on the board: lead, forecast and probability of a win at a glance. */
import { For, Show, type JSX } from "solid-js";
import { IntervalBar } from "../charts/IntervalBar";
import { Sparkline } from "../charts/Sparkline";
import { changeOf } from "../model/course";
import { seenBefore } from "../model/dejavu";
import { fixed, lead, percent } from "../model/format";
import { isBeginning, isReplay, unforecast, type Unforecast } from "../model/phase";
import { gameClock, named, overtimesBy } from "../model/play";
import { leadBy } from "../model/shown";
import { story } from "../model/story";
import { teamStyle } from "../model/teams";
import { HORIZONS, type Forecast, type Outcome, type Shown } from "../model/types";
import { latest, outcomeOf, type Game } from "../state/games";
import { createPhase } from "../state/phase";
import { strings } from "../strings";
import { AgeBadge } from "./AgeBadge";
import { MarketLine } from "./MarketBeside";
import { lineText, Score } from "./ShownGame";

const said = strings.tonight;
/** A chance below which a winner came back. */
const CAME_BACK = 0.4;

function HorizonRow(props: { forecast: Forecast; home: string; away: string }) {
  const name = (value: number) => lead(value, props.home, props.away);
  const interval = () => said.interval(percent(1 - props.forecast.alpha), name(props.forecast.lower), name(props.forecast.upper));
  return (
    <div class="horizon-row" data-horizon={props.forecast.horizon}>
      <span class="sub">{strings.horizon[props.forecast.horizon]}</span>
      <strong class="figure-number">{name(props.forecast.point)}</strong>
      <IntervalBar {...props.forecast} label={`${strings.atHorizon[props.forecast.horizon]}: ${name(props.forecast.point)}. ${interval()}.`} />
      <span class="sub interval-text">
        {interval()} {props.forecast.late && said.late}
      </span>
    </div>
  );
}

/** The card of a game: its teams, of which one leads, and score and clock where the feed shows them. */
function Card(props: { game: Game; phase: string; margin: number; over?: boolean; badge?: JSX.Element; children: JSX.Element }) {
  const home = () => props.game.home || strings.homeName;
  const away = () => props.game.away || strings.awayName;
  return (
    <a class="card game-card teams" style={teamStyle(home(), away())} href={`/game/${props.game.id}`} data-game={props.game.id} data-over={props.over} data-phase={props.phase}>
      <div class="game-top">
        <span class="matchup">
          <span class="team" data-side="away" data-leads={props.margin < 0}>
            {away()}
          </span>
          <span class="at" aria-hidden="true">
            @
          </span>
          <span class="team" data-side="home" data-leads={props.margin > 0}>
            {home()}
          </span>
        </span>
        <Show when={isReplay(props.game.id)}>
          <span class="badge">{said.replay}</span>
        </Show>
        {props.badge}
      </div>
      <Show when={props.game.shown}>{(shown) => <Score shown={shown()} />}</Show>
      {props.children}
    </a>
  );
}

/** A game without a forecast yet: what the feed shows of it. */
function Unforecast(props: { game: Game; shown: Shown }) {
  const margin = () => (props.shown.status === "scheduled" ? 0 : props.shown.homeScore - props.shown.awayScore);
  return (
    <Card game={props.game} phase={props.shown.status} margin={margin()}>
      <Show when={lineText(props.shown)}>{(line) => <p class="sub">{strings.market.line(line())}</p>}</Show>
      <Show when={props.shown.status === "live"}>
        <p class="sub">{isBeginning(props.shown) ? strings.shown.begins : strings.shown.none}</p>
      </Show>
    </Card>
  );
}

export function GameCard(props: { game: Game }) {
  const home = () => props.game.home || strings.homeName;
  const away = () => props.game.away || strings.awayName;
  const newest = () => latest(props.game);
  const final = () => outcomeOf(props.game, "final");
  const probability = () => (final() ? (final() as Outcome).differential > 0 ? 1 : 0 : props.game.newest.final?.probability);
  const favourite = () => ((probability() ?? 0.5) >= 0.5 ? "home" : "away");
  const favouriteName = () => (favourite() === "home" ? home() : away());
  const chance = () => percent(Math.max(probability() ?? 0.5, 1 - (probability() ?? 0.5)));
  const margin = () => final()?.differential ?? leadBy(props.game.shown) ?? newest()?.lead ?? 0;
  const state = createPhase(newest, final, () => props.game.shown);
  const overtimes = () => Math.max(final()?.overtimes ?? 0, overtimesBy(props.game.course.at(-1)?.minute ?? 0));
  const open = () => !final() && !unforecast(state());
  const changed = () => {
    const change = changeOf(props.game.course);
    if (!change || !open()) return "";
    const since = change.since === (newest()?.minute ?? 0) - 1 ? said.minuteBefore : named(change.since);
    return change.percent ? said.change(change.percent > 0 ? home() : away(), Math.abs(change.percent), since) : said.unchanged(since);
  };
  const told = () => {
    const outcome = final();
    const one = outcome && story(props.game.course, props.game.course, outcome.differential);
    if (!one) return "";
    const [{ minute, lead: then }, team] = [one.lowest, one.homeWon ? home() : away()];
    const chance = percent(one.chance);
    const how = one.chance < CAME_BACK ? strings.game.told(team, chance, gameClock(minute), one.homeWon ? -then : then) : strings.game.never(team, chance);
    return `${how} · ${strings.game.decided.toLowerCase()} ${one.decided ? gameClock(one.decided.minute) : strings.game.open}`;
  };
  const course = () => {
    const last = props.game.course.at(-1);
    return said.sparkline(home(), last?.minute ?? 0, percent(last?.probability ?? 0.5));
  };
  return (
    <Show when={newest()} fallback={<Show when={props.game.shown}>{(shown) => <Unforecast game={props.game} shown={shown()} />}</Show>}>
      {(current) => (
        <Card
          game={props.game}
          phase={state()}
          margin={margin()}
          over={final() !== undefined}
          badge={<AgeBadge newest={current()} outcome={final()} shown={props.game.shown} />}
        >
          <div class="game-now">
            <div>
              <span class="lead-now" data-side={margin() > 0 ? "home" : margin() < 0 ? "away" : "even"}>
                {lead(margin(), home(), away(), 0)}
              </span>
              <span class="sub">{final() ? "" : leadBy(props.game.shown) === undefined ? said.after(current().minute) : said.forecast(current().minute)}</span>
            </div>
            <Show when={unforecast(state())}>
              <span class="no-forecast">{said.noForecast[state() as Unforecast]}</span>
            </Show>
            <Show when={open() && probability() !== undefined}>
              <div class="chance">
                <span class="chance-number" data-side={favourite()}>
                  {chance()}
                </span>
                <span class="sub">{said.wins(favouriteName())}</span>
              </div>
            </Show>
          </div>
          <Sparkline points={props.game.course} overtimes={overtimes()} label={course()} />
          <Show when={final()} fallback={<p class="sub change">{changed()}</p>}>
            <p class="sub story">
              {told()}
              <Show when={props.game.held.final}>{(share) => <span class="held" title={said.heldMeans}>{said.heldOf(share().held, share().of)}</span>}</Show>
            </p>
          </Show>
          <Show when={open() && seenBefore(props.game.seen, current().minute)}>{(sentence) => <p class="sub seen">{sentence()}</p>}</Show>
          <Show when={open()}>
            <MarketLine game={props.game} phase={state()} side={favourite()} />
          </Show>
          <For each={HORIZONS.filter((horizon) => !outcomeOf(props.game, horizon) && (horizon === "half" || open()))}>
            {(horizon) => <Show when={props.game.newest[horizon]}>{(one) => <HorizonRow forecast={one()} home={home()} away={away()} />}</Show>}
          </For>
          <Show when={open() && props.game.newest.final?.total}>
            {(total) => <p class="sub total">{said.total(fixed(total().point), percent(1 - (props.game.newest.final as Forecast).alpha), total().lower, total().upper)}</p>}
          </Show>
        </Card>
      )}
    </Show>
  );
}

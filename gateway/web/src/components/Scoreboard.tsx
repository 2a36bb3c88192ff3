/** The top of a game's page: lead, probability of a win and forecasts at the shown minute. */
import { For, Show } from "solid-js";
import { covers } from "../model/course";
import { day, expected, fixed, percent } from "../model/format";
import { dayOf, isReplay, unforecast, type Unforecast } from "../model/phase";
import { HORIZONS, type Forecast, type Horizon } from "../model/types";
import { leadBy } from "../model/shown";
import { teamName } from "../model/teams";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { createPhase } from "../state/phase";
import { strings } from "../strings";
import { game } from "../state/games";
import { AgeBadge } from "./AgeBadge";
import { Score } from "./ShownGame";
import { Stat } from "./Stat";
import { Held, Story } from "./Story";
import { WinBar } from "./WinBar";

const said = strings.game;

export function Scoreboard(props: { id: string; history: History; moment: Moment }) {
  const home = () => props.moment.home();
  const away = () => props.moment.away();
  const over = () => props.history.outcome("final");
  const ended = () => props.moment.ended();
  const shown = () => (props.moment.following() ? leadBy(game(props.id)?.shown) : undefined);
  const margin = () => ended()?.differential ?? shown() ?? props.moment.lead();
  const end = () => props.moment.shown().final?.forecast;
  const known = () => [end(), props.moment.shown().half?.forecast].find((one) => one?.expectedMargin !== undefined);
  const newest = () => props.history.newest();
  /** Of the newest moment; an earlier one, which the viewer chose, is shown as it was. */
  const state = createPhase(() => (props.moment.following() ? newest() : undefined), over, () => game(props.id)?.shown);
  return (
    <section class="card scoreboard">
      <Show when={newest()}>{(one) => <p class="sub scoreboard-day">{isReplay(props.id) ? strings.tonight.replayed(day(dayOf(one()))) : day(dayOf(one()))}</p>}</Show>
      <div class="scoreboard-now">
        <TeamName side="away" code={away()} leads={margin() < 0} />
        <span class="scoreboard-lead">
          <strong data-side={margin() > 0 ? "home" : margin() < 0 ? "away" : "even"}>{props.moment.named(margin(), 0)}</strong>
          <span class="sub">{ended() ? strings.age.final(over()?.overtimes) : shown() === undefined ? strings.tonight.after(props.moment.minute()) : strings.tonight.forecast(props.moment.minute())}</span>
        </span>
        <TeamName side="home" code={home()} leads={margin() > 0} />
      </div>
      <Show when={props.moment.following() && game(props.id)?.shown}>{(shown) => <Score shown={shown()} />}</Show>
      <Show when={!ended() && unforecast(state())}>
        <p class="no-forecast">
          {strings.tonight.noForecast[state() as Unforecast]}{" "}
          <Show when={end()}>{(one) => <span class="sub">{said.newest(one().minute, `${strings.tonight.wins(home())} ${percent(one().probability)}`)}</span>}</Show>
        </p>
      </Show>
      <Show when={!ended() && !unforecast(state()) && end()}>
        {(forecast) => <WinBar teams={{ home: home(), away: away() }} probability={forecast().probability} phase={state()} />}
      </Show>
      <Show when={ended()}>
        <h2>{said.story}</h2>
      </Show>
      <dl class="stats">
        <Show when={ended()} fallback={<For each={HORIZONS}>{(horizon) => <Statement horizon={horizon} history={props.history} moment={props.moment} />}</For>}>
          {(came) => <Story history={props.history} moment={props.moment} differential={came().differential} />}
        </Show>
        <Held history={props.history} moment={props.moment} />
        <Show when={!over() && end()?.total}>
          {(total) => (
            <Stat name={strings.whatIf.total.final ?? ""} value={fixed(total().point)} notes={[strings.tonight.interval(percent(1 - (end() as Forecast).alpha), `${total().lower}`, `${total().upper}`)]} />
          )}
        </Show>
        <Show when={known()}>
          {(forecast) => (
            <Stat
              name={said.expected}
              value={expected(forecast().expectedMargin as number, home(), away())}
              notes={[...(forecast().whoPlays ? [said.whoPlays(props.moment.named(forecast().whoPlays))] : []), ...forecast().known.map(said.known)]}
            />
          )}
        </Show>
      </dl>
      <Show when={newest()}>
        {(forecast) => (
          <p class="row apart">
            <AgeBadge newest={forecast()} outcome={over()} shown={game(props.id)?.shown} />
            <span class="sub">
              {said.model} {forecast().modelVersion}
            </span>
          </p>
        )}
      </Show>
      <For each={end()?.warnings ?? []}>{(warning) => <p class="warning">{warning}</p>}</For>
    </section>
  );
}

/** The name of a team, its code where that is too long. */
function TeamName(props: { side: "home" | "away"; code: string; leads: boolean }) {
  return (
    <span class="team" data-side={props.side} data-leads={props.leads}>
      <span class="wide">{teamName(props.code)}</span>
      <abbr class="narrow" title={teamName(props.code)}>
        {props.code}
      </abbr>
    </span>
  );
}

function Statement(props: { horizon: Horizon; history: History; moment: Moment }) {
  const forecast = () => props.moment.shown()[props.horizon]?.forecast;
  const outcome = () => props.history.outcome(props.horizon);
  const name = props.moment.named;
  return (
    <Show when={forecast()}>
      {(one) => (
        <Stat
          name={said.asForecast(strings.atHorizon[props.horizon] ?? "", one().minute)}
          value={name(one().point)}
          notes={[strings.tonight.interval(percent(1 - one().alpha), name(one().lower), name(one().upper))]}
          horizon={props.horizon}
          title={said.games(one().calibrationGames)}
        >
          <Show when={outcome()}>
            {(came) => (
              <span class="sub came" data-held={covers(one(), came().differential)}>
                {name(came().differential, 0)} · {strings.tonight.held(covers(one(), came().differential), one().minute)}
              </span>
            )}
          </Show>
        </Stat>
      )}
    </Show>
  );
}

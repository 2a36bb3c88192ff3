/** The fan of one game alone, for a frame in another page. */
import { Show } from "solid-js";
import { AgeBadge } from "../components/AgeBadge";
import { FanChart, FanLegend } from "../components/FanFigure";
import { Heading, Pending, Problems } from "../components/Frame";
import { percent } from "../model/format";
import { unforecast, type Unforecast } from "../model/phase";
import { teamStyle } from "../model/teams";
import { game } from "../state/games";
import { createHistory } from "../state/history";
import { createMoment } from "../state/moment";
import { createPhase } from "../state/phase";
import { strings } from "../strings";

export default function Embed(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history, () => game(props.id)?.shown);
  const end = () => moment.shown().final?.forecast;
  const over = () => history.outcome("final");
  const shown = () => game(props.id)?.shown;
  const state = createPhase(history.newest, over, shown);
  const margin = () => over()?.differential ?? moment.lead();
  return (
    <main class="embed teams" style={teamStyle(moment.home(), moment.away())}>
      <Problems />
      <Show when={history.minutes().length} fallback={
          <Show when={history.loaded.value()} fallback={<Pending error={history.loaded.error()} retry={history.reload} />}>
            <p class="pending">{history.onlyLate() ? strings.game.onlyLate : strings.game.unknown}</p>
          </Show>
        }
      >
        <div class="row apart embed-head">
          <Heading>{strings.game.title(moment.away(), moment.home())}</Heading>
          <span>
            {moment.named(margin(), 0)} · {over() ? strings.age.final(over()?.overtimes) : strings.tonight.after(moment.minute())}
          </span>
          <Show when={!over() && unforecast(state())}>
            <span class="no-forecast">{strings.tonight.noForecast[state() as Unforecast]}</span>
          </Show>
          <Show when={!over() && !unforecast(state()) && end()}>
            {(forecast) => (
              <strong class="chance-now" data-phase={state()}>
                {strings.tonight.wins(moment.home())} {percent(forecast().probability)}
              </strong>
            )}
          </Show>
          <Show when={!over() && history.newest()}>{(newest) => <AgeBadge newest={newest()} outcome={over()} shown={shown()} />}</Show>
        </div>
        <FanChart moment={moment} fill />
        <div class="row apart embed-foot">
          <FanLegend over={moment.ended() !== undefined} />
          <a href={`/game/${props.id}`} target="_blank" rel="noopener">
            {strings.product}
          </a>
        </div>
      </Show>
    </main>
  );
}

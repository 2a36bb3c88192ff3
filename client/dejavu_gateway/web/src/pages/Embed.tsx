/** The fan of one game alone, for a frame in another page. */
import { Show } from "solid-js";
import { FanChart, FanLegend } from "../components/FanFigure";
import { Heading, Pending, Problems } from "../components/Frame";
import { lead, percent } from "../model/format";
import { createHistory } from "../state/history";
import { createMoment } from "../state/moment";
import { strings } from "../strings";

export default function Embed(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history);
  const end = () => moment.shown().final?.forecast;
  const margin = () => history.outcome("final")?.differential ?? moment.pattern().at(-1) ?? 0;
  return (
    <main class="embed">
      <Problems />
      <Show when={history.predictions().length} fallback={
          <Show when={history.loaded.value()} fallback={<Pending error={history.loaded.error()} retry={history.reload} />}>
            <p class="pending">{strings.game.unknown}</p>
          </Show>
        }
      >
        <div class="embed-head">
          <Heading>{strings.game.title(moment.away(), moment.home())}</Heading>
          <span>
            {lead(margin(), moment.home(), moment.away(), 0)} · {history.outcome("final") ? strings.age.over : strings.tonight.after(moment.minute())}
          </span>
          <Show when={!history.outcome("final") && end()}>
            {(forecast) => (
              <strong>
                {strings.tonight.wins(moment.home())} {percent(forecast().probability)}
              </strong>
            )}
          </Show>
        </div>
        <FanChart moment={moment} similar={[]} similarHorizon="final" />
        <div class="embed-foot">
          <FanLegend />
          <a href={`/game/${props.id}`} target="_blank" rel="noopener">
            {strings.product}
          </a>
        </div>
      </Show>
    </main>
  );
}

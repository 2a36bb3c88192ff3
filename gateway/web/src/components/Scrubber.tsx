/** Moves through the forecasts of a game, by time of play. */
import { Show } from "solid-js";
import { clock, exact } from "../model/format";
import { named } from "../model/play";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";
import { Copy } from "./Command";

const said = strings.game;

export function Scrubber(props: { history: History; moment: Moment }) {
  const minutes = () => props.history.minutes();
  const place = () => minutes().indexOf(props.moment.minute());
  /** At the last place, the page follows the newest forecast. */
  const choose = (index: number) => props.moment.choose(index >= minutes().length - 1 ? undefined : minutes()[Math.max(0, index)]);
  const made = () => props.moment.forecasts()[0]?.generated ?? Number.NaN;
  const copy = (to: Clipboard) => {
    const url = new URL(location.href);
    url.searchParams.set("minute", `${props.moment.minute()}`);
    return to.writeText(url.href);
  };
  return (
    <div class="card scrubber">
      <div class="row">
        <button type="button" class="icon-button" aria-label={said.earlier} disabled={place() <= 0} onClick={() => choose(place() - 1)}>
          ‹
        </button>
        <input
          type="range"
          aria-label={said.scrubber}
          aria-valuetext={named(props.moment.minute())}
          min={0}
          max={Math.max(0, minutes().length - 1)}
          value={place()}
          onInput={(event) => choose(event.currentTarget.valueAsNumber)}
        />
        <button type="button" class="icon-button" aria-label={said.later} disabled={place() >= minutes().length - 1} onClick={() => choose(place() + 1)}>
          ›
        </button>
      </div>
      <div class="row apart">
        <p class="sub scrubber-text" title={exact(made())}>
          {said.then(props.moment.minute(), clock(made()))}
        </p>
        <Show when={!props.moment.following()}>
          <button type="button" onClick={() => props.moment.choose(undefined)}>
            {props.history.outcome("final") ? said.toLast : said.toLive}
          </button>
        </Show>
        <Copy name={said.copy} copy={copy} />
      </div>
    </div>
  );
}

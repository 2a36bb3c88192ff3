/** How old what is shown is; it turns once the forecast no longer counts as current. */
import { span, exact } from "../model/format";
import type { Forecast } from "../model/types";
import { now } from "../state/clock";
import { strings } from "../strings";

export type Freshness = "live" | "halftime" | "stale" | "over";

/** At the half no play comes for a quarter of an hour: silence is no fault then. */
const HALFTIME_MS = 20 * 60_000;

export function freshness(newest: Forecast, over: boolean, instant: number): Freshness {
  if (over) return "over";
  if (newest.expires > instant) return "live";
  if ((newest.minute === 23 || newest.minute === 24) && instant - newest.generated < HALFTIME_MS) return "halftime";
  return "stale";
}

export function AgeBadge(props: { newest: Forecast; over: boolean }) {
  const state = () => freshness(props.newest, props.over, now());
  const age = () => span(now() - props.newest.generated);
  const words = () => {
    const said = strings.age;
    return { live: said.live(age()), stale: said.stale(age()), halftime: said.halftime, over: said.over }[state()];
  };
  /** Written once it is pointed at: the format of a time takes a phone longer to make than a card. */
  const title = () => {
    const made = exact(props.newest.generated);
    return state() === "over" ? made : `${state() === "stale" ? strings.age.staleTitle : strings.age.liveTitle} ${made}`;
  };
  return (
    <span class="badge" data-state={state()} onPointerEnter={(event) => (event.currentTarget.title = title())}>
      {words()}
    </span>
  );
}

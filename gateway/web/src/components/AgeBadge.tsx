/** Age of the shown forecast; the badge changes once the forecast has expired. */
import { span, exact } from "../model/format";
import { phase } from "../model/phase";
import type { Forecast, Outcome, Shown } from "../model/types";
import { now } from "../state/clock";
import { isCurrent } from "../state/problems";
import { strings } from "../strings";

export function AgeBadge(props: { newest: Forecast; outcome: Outcome | undefined; shown: Shown | undefined }) {
  const state = () => phase(props.newest, props.outcome !== undefined, now(), props.shown);
  const age = () => span(now() - props.newest.generated);
  const words = () => {
    const said = strings.age;
    switch (state()) {
      case "over":
        return said.final(props.outcome?.overtimes);
      case "live":
      case "last":
        return said.live(age());
      case "stale":
        return said.stale(age());
      case "halftime":
        return said.halftime;
      case "beyond":
        return said.noForecast;
      case "ended":
        return said.ended;
      case "postponed":
        return strings.shown.postponed;
      case "unreported":
        return said.unreported;
    }
  };
  /** Set when the pointer enters: on a phone, formatting a time takes longer than drawing a card. */
  const title = () => {
    const made = exact(props.newest.generated);
    if (state() === "stale") return `${strings.age.staleTitle} ${made}`;
    return state() === "live" ? `${strings.age.liveTitle} ${made}` : made;
  };
  return (
    <span
      class="badge"
      data-state={state() === "live" && !isCurrent() ? "unsure" : state()}
      onPointerEnter={(event) => (event.currentTarget.title = title())}
    >
      {words()}
    </span>
  );
}

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
    const one = state();
    if (one === "over") return said.final(props.outcome?.overtimes);
    if (one === "stale") return said.stale(age());
    return one === "live" || one === "last" ? said.live(age()) : said.states[one];
  };
  return (
    <span
      class="badge"
      data-state={state() === "live" && !isCurrent() ? "unsure" : state()}
      // When the pointer enters: on a phone, formatting a time takes longer than drawing a card.
      onPointerEnter={(event) => (event.currentTarget.title = exact(props.newest.generated))}
    >
      {words()}
    </span>
  );
}

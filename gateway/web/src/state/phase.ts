/** The phase of a game as time passes. */
import { createMemo, type Accessor } from "solid-js";
import { phase, type Phase } from "../model/phase";
import type { Forecast, Outcome, Shown } from "../model/types";
import { now } from "./clock";

/** The phase of a game's newest forecast at this time, with what the feed shows of the game; "live" without a forecast. */
export function createPhase(
  newest: Accessor<Forecast | undefined>,
  outcome: Accessor<Outcome | undefined>,
  shown: Accessor<Shown | undefined>,
): Accessor<Phase> {
  return createMemo(() => {
    const one = newest();
    return one ? phase(one, outcome() !== undefined, now(), shown()) : "live";
  });
}

/** Prices recorded with a forecast: what the market held for likely, beside the model. The server computed every probability. */
import { fixed } from "./format";
import type { Forecast, Side } from "./types";

/** A price may be older than this no longer: several have followed it. */
const OLD_MS = 2 * 60_000;
/** And the game has not gone on for longer. */
const OLD_MINUTES = 1;

/** Whether a price of the time of one forecast is old beside the newest forecast. */
export function isOld(priced: Forecast, newest: Forecast | undefined, instant: number): boolean {
  return instant - priced.generated > OLD_MS || (newest?.minute ?? 0) - priced.minute > OLD_MINUTES;
}

/** Model − market in percentage points, of the numbers as they are shown: "+5", "−0.4". */
export function difference(side: Pick<Side, "market" | "model">, digits = 0): string {
  const shown = (probability: number) => Number((100 * probability).toFixed(digits));
  const points = shown(side.model) - shown(side.market);
  return points > 0 ? `+${fixed(points, digits)}` : fixed(points, digits);
}

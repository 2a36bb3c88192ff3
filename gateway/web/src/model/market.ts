/** Prices recorded with a forecast: what the market held for likely, beside the model. The server computed every probability. */
import { fixed } from "./format";
import type { Forecast } from "./types";

/** One side of a bet. */
export interface Side {
  /** The price as the book printed it. */
  price: string;
  /** P(it wins) by both prices without the bookmaker's margin, and by the model. */
  market: number;
  model: number;
}

/** A bet on the end of a game, as it was recorded: on who wins or by how much, or on the points of both. */
export interface Quote {
  kind: "lead" | "total";
  /** Points above which the first side wins; 0 of a lead: who wins. */
  line: number;
  /** Home and away, or over and under. */
  above: Side;
  below: Side;
  /** The bookmaker's margin. */
  margin: number;
  /** Reasons why the difference says less than usual, in the server's words. */
  warnings: string[];
  /** Whether a reason is the price itself: it may be from before tip-off, mistyped, or know what the model does not. */
  doubtful: boolean;
  /** What has to stand beside every difference. */
  notice: string;
}

/** The line before tip-off that a forecast knew, in points, and when it was read (NaN if unknown). */
export interface Line {
  margin: number | undefined;
  total: number | undefined;
  read: number;
}

/** A price may be older than this no longer: several have followed it. */
const OLD_MS = 2 * 60_000;
/** And the game has not gone on for longer. */
const OLD_MINUTES = 1;

/** Whether a price of the time of one forecast is old beside the newest forecast. */
export function isOld(priced: Forecast, newest: Forecast | undefined, instant: number): boolean {
  return instant - priced.generated > OLD_MS || (newest?.minute ?? 0) - priced.minute > OLD_MINUTES;
}

/** Model − market in percentage points, of the numbers as they are shown: "+5", "−0.4". */
export function difference(side: Side, digits = 0): string {
  const shown = (probability: number) => Number((100 * probability).toFixed(digits));
  const points = shown(side.model) - shown(side.market);
  return points > 0 ? `+${fixed(points, digits)}` : fixed(points, digits);
}

/** Types of the page. What the contract's messages become, with numbers and times in place of JSON's strings, api/convert.ts states field by field. */
import type { forecast, outcome, quote, recorded, shown } from "../api/convert";

export type Horizon = "half" | "final";
export const HORIZONS: readonly Horizon[] = ["half", "final"];
/** Minute of play at which a horizon is reached, without overtime. */
export const MINUTE_OF: Record<Horizon, number> = { half: 24, final: 48 };

export interface Teams {
  home: string;
  away: string;
}

export type Forecast = ReturnType<typeof forecast>;
export type SimilarGame = Forecast["similar"][number];
export type SimilarSummary = NonNullable<Forecast["summary"]>;
export type TeamKnowledge = Forecast["known"][number];
/** The line before tip-off that a forecast knew. */
export type Line = NonNullable<Forecast["line"]>;
export type Recorded = ReturnType<typeof recorded>;
/** A bet: on who wins or by how much, or on the points of both. */
export type Quote = ReturnType<typeof quote>;
export type Side = Quote["above"];
export type Outcome = ReturnType<typeof outcome>;
/** What the feed shows of a game. */
export type Shown = ReturnType<typeof shown>;

/** Points of the home and the away team. */
export type Score = [home: number, away: number];

/** A differential at a time of play. */
export interface Played {
  minute: number;
  lead: number;
}

/** The probability that the home team wins, as it was from a time of play on. */
export interface Chance {
  minute: number;
  probability: number;
}

/** The newest in-time forecast of the end, by minute: the points of the board's sparkline. */
export interface CoursePoint extends Played, Chance {
  /** Position in the ledger of the forecast; 0 where it is not known. */
  sequence: number;
}

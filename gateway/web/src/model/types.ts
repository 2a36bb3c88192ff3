/** Types of the page: the contract's messages with numbers and times in place of JSON's strings. */
import type { Line, Quote } from "./market";

export type Horizon = "half" | "final";
export const HORIZONS: readonly Horizon[] = ["half", "final"];
/** Minute of play at which a horizon is reached, without overtime. */
export const MINUTE_OF: Record<Horizon, number> = { half: 24, final: 48 };

export interface Teams {
  home: string;
  away: string;
}

/** What the feed shows of a game. */
export interface Shown extends Teams {
  status: "scheduled" | "live" | "final" | "postponed";
  /** The status in the feed's words; may be empty. */
  text: string;
  homeScore: number;
  awayScore: number;
  /** 0 before tip-off, 5 for the first overtime. */
  period: number;
  /** Seconds left in the period; undefined where the feed shows none. */
  left: number | undefined;
  /** Milliseconds since 1970; NaN where it is not known. Likewise `observed`, when the poller read it, and `published`, when the server stored it. */
  tipOff: number;
  observed: number;
  published: number;
  /** The market's line of the differential and of both teams' points. */
  margin: number | undefined;
  total: number | undefined;
}

/** A forecast of both teams' points. */
export interface Total {
  point: number;
  lower: number;
  upper: number;
}

/** Points of the home and the away team. */
export type Score = [home: number, away: number];

export interface SimilarGame extends Teams {
  /** Its local date, ISO 8601. */
  date: string;
  /** Whether its away team has the part of the shown home team; its differentials then are away − home. */
  mirrored: boolean;
  /** Differential after the forecast's minute, and at its horizon. */
  lead: number;
  atHorizon: number;
  /** Scores after the forecast's minute and at the end, as the game was played; undefined if unknown. */
  score: Score | undefined;
  final: Score | undefined;
  /** Differentials at the end of each minute before the horizon, from the first one on; empty if unknown. */
  course: number[];
}

/** What happened in the similar games that a forecast is made of; a game and its mirror image count as two. */
export interface SimilarSummary {
  /** Minute after which they are compared. */
  minute: number;
  games: number;
  /** Games of them with the lead of the forecast's game, to two points; the following are of these. */
  sameLead: number;
  homeLed: number;
  /** In which the side that is behind led at the horizon. */
  turned: number;
  correction: number;
}

export interface Attribution {
  beforeTipoff: number;
  minutes: number[];
  /** Change by the components beside the linear models. */
  components: number;
}

/** What the ratings know of a team: finals of this season, and the date up to which they know earlier games, ISO 8601; "" if none. */
export interface TeamKnowledge {
  team: string;
  deviation: number;
  finals: number;
  earlier: string;
}

export interface Forecast extends Teams {
  gameId: string;
  horizon: Horizon;
  /** Time of play: minutes since tip-off; at a moment, with a fraction, and in overtime beyond 48. */
  minute: number;
  /** Whether it is of a moment, whose states may be several at one second, and not of the end of a minute. */
  isMoment: boolean;
  alpha: number;
  point: number;
  lower: number;
  upper: number;
  /** P(home − away > 0) at the horizon. */
  probability: number;
  total: Total | undefined;
  /** Points of both teams together at `minute`; undefined where they were not recorded. */
  pointsSoFar: number | undefined;
  modelVersion: string;
  /** Milliseconds since 1970; likewise `expires`. */
  generated: number;
  expires: number;
  /** Local date of the game (ISO 8601). */
  day: string;
  sequence: number;
  revision: number;
  late: boolean;
  expectedMargin: number | undefined;
  /** Undefined where it had none. */
  line: Line | undefined;
  /** Part of `expectedMargin` from line-ups so far; 0 if unknown. */
  whoPlays: number;
  /** Knowledge of the ratings about both teams; empty if they were not used. */
  known: TeamKnowledge[];
  warnings: string[];
  /** Differential at `minute`; unknown without an explanation, except at a moment. */
  lead: number | undefined;
  similar: SimilarGame[];
  summary: SimilarSummary | undefined;
  attribution: Attribution | undefined;
  /** What moved the forecast, the largest effect first. */
  contributions: { name: string; points: number }[];
  /** The models that it is made of, with their predictions and shares. */
  components: { name: string; points: number; weight: number }[];
  calibrationGames: number;
  /** Quantiles by level, ascending; empty where none were sent. */
  quantiles: { level: number; value: number }[];
}

export interface Outcome {
  gameId: string;
  horizon: Horizon;
  differential: number;
  withdrawn: boolean;
  /** Overtimes that the game had at its end; undefined where it was not reported. */
  overtimes: number | undefined;
  sequence: number;
  revision: number;
  recorded: number;
}

export interface Recorded {
  forecast: Forecast;
  pattern: number[];
  /** The prices recorded with it. */
  quotes: Quote[];
}

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

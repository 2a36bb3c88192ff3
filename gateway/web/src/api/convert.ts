/** From the JSON mapping of dejavu.v1 to the types of the page. */
import type { ForecastJson, TeamKnowledgeJson } from "../gen/dejavu/v1/forecast_pb";
import type { GameJson } from "../gen/dejavu/v1/game_service_pb";
import type { MarketSideAnswerJson, OddsJson } from "../gen/dejavu/v1/market_pb";
import type { OutcomeJson, RecordedMarketJson, RecordedPredictionJson } from "../gen/dejavu/v1/record_pb";
import { fixed, signed } from "../model/format";
import { timeOfPlay } from "../model/play";
import type { Horizon, Score } from "../model/types";

type JsonNumber = number | string | undefined;

/** A number of proto3 JSON, where int64, NaN and infinities are strings; absent means 0. */
export function num(value: JsonNumber): number {
  return value === undefined ? 0 : Number(value);
}

function optional(value: JsonNumber): number | undefined {
  return value === undefined ? undefined : Number(value);
}

export function time(value: string | undefined): number {
  return value === undefined ? Number.NaN : Date.parse(value);
}

function horizon(name: string | undefined): Horizon {
  return name === "HORIZON_FINAL" ? "final" : "half";
}

/** Common fields of forecasts and outcomes. */
function entry(json: ForecastJson | OutcomeJson) {
  return { gameId: json.gameId ?? "", horizon: horizon(json.horizon), sequence: num(json.sequence), revision: num(json.revision) };
}

/** Levels of `distribution`: 0.01, 0.03, … 0.99. */
function recordedQuantiles(values: readonly JsonNumber[]): { level: number; value: number }[] {
  return values.map((value, index) => ({ level: (1 + 2 * index) / 100, value: num(value) }));
}

/** The named numbers of a message. */
function numbers<Name extends string>(json: Partial<Record<Name, JsonNumber>>, ...names: Name[]): Record<Name, number> {
  return Object.fromEntries(names.map((name) => [name, num(json[name])])) as Record<Name, number>;
}

/** What the ratings know of a team: finals of this season, and the date up to which they know earlier games, ISO 8601; "" if none. */
function knowledge(team: string | undefined, json: TeamKnowledgeJson | undefined) {
  return json ? [{ team: team ?? "", ...numbers(json, "deviation", "finals"), earlier: json.earlierDate ?? "" }] : [];
}

function score(home: JsonNumber, away: JsonNumber): Score | undefined {
  return home === undefined || away === undefined ? undefined : [num(home), num(away)];
}

/** In points; undefined where the forecast had none of the market, or the market none of this kind. */
function line(json: ForecastJson) {
  const given = !["MARGIN_SOURCE_UNSPECIFIED", "MARGIN_SOURCE_RATINGS"].includes(json.marginSource ?? "MARGIN_SOURCE_UNSPECIFIED");
  const [margin, total] = [given ? optional(json.expectedMargin) : undefined, optional(json.pregameTotal)];
  // When it was read; NaN if unknown.
  return margin === undefined && total === undefined ? undefined : { margin, total, read: time(json.marginTime) };
}

/** One side of a bet. */
function side(odds: OddsJson | undefined, answer: MarketSideAnswerJson | undefined) {
  return {
    /** The price as the book printed it. */
    price: odds?.american === undefined ? fixed(num(odds?.decimal), 2) : signed(odds.american, 0),
    /** P(it wins) by both prices without the bookmaker's margin, and by the model. */
    market: num(answer?.fairProbability),
    model: num(answer?.winProbability),
    /** What a stake of 1 is expected to win, and the share of the bankroll that the usual rules stake. */
    worth: num(answer?.expectedValue),
    stake: num(answer?.stakeFraction),
  };
}

/** Reasons of warnings that doubt a price; the others doubt the model. */
const OF_THE_PRICE = new Set<unknown>(["WARNING_REASON_IMPLAUSIBLE_DIFFERENCE", "WARNING_REASON_MARKETS_OWN_LINE", "WARNING_REASON_LATE_MOMENT"]);

/** A market with its evaluation. The server computed every probability. */
export function quote({ market, answer = {} }: RecordedMarketJson) {
  return {
    kind: answer.kind === "MARKET_KIND_TOTAL" ? ("total" as const) : ("lead" as const),
    /** Points above which the first side wins; 0 of a lead: who wins. */
    line: num(market?.line),
    /** Home and away, or over and under. */
    above: side(market?.above, answer.above),
    below: side(market?.below, answer.below),
    /** When an exchange's last trade was made; undefined of prices on offer. */
    traded: market?.tradedTime && time(market.tradedTime),
    /** The bookmaker's margin. */
    margin: num(answer.overround),
    /** Reasons why the difference says less than usual, in the server's words. */
    warnings: (answer.warnings ?? []).map((warning) => warning.text ?? ""),
    /** Whether a reason is the price itself: it may be from before tip-off, mistyped, or know what the model does not. */
    doubtful: (answer.warnings ?? []).some(({ reason }) => OF_THE_PRICE.has(reason)),
    /** What has to stand beside every difference. */
    notice: answer.notice ?? "",
  };
}

export function forecast(json: ForecastJson) {
  const { explanation, moment } = json;
  const { attribution, similarSummary: summary } = explanation ?? {};
  const asked = (json.quantiles ?? []).map((q) => ({ level: num(q.level), value: num(q.value) }));
  return {
    ...entry(json),
    home: json.homeTeam ?? "",
    away: json.awayTeam ?? "",
    /** Time of play: minutes since tip-off; at a moment, with a fraction, and in overtime beyond 48. */
    minute: moment ? timeOfPlay(num(moment.period), num(moment.secondsLeft)) : num(json.elapsedMinutes),
    /** Whether it is of a moment, whose states may be several at one second, and not of the end of a minute. */
    isMoment: moment !== undefined,
    alpha: num(json.alpha),
    point: num(json.pointForecast),
    lower: num(json.intervalLower),
    upper: num(json.intervalUpper),
    /** P(home − away > 0) at the horizon. */
    probability: num(json.homeLeadProbability),
    /** Of both teams' points. */
    total: json.total && { point: num(json.total.pointForecast), lower: num(json.total.intervalLower), upper: num(json.total.intervalUpper) },
    /** Points of both teams together at `minute`; undefined where they were not recorded. */
    pointsSoFar: optional(json.totalPoints),
    modelVersion: json.modelVersion ?? "",
    /** Milliseconds since 1970; likewise `expires`. */
    generated: time(json.generatedTime),
    expires: time(json.expiresTime),
    /** Local date of the game (ISO 8601). */
    day: json.gameDate ?? "",
    late: (json.late ?? "LATE_REASON_UNSPECIFIED") !== "LATE_REASON_UNSPECIFIED",
    expectedMargin: optional(json.expectedMargin),
    line: line(json),
    /** Part of `expectedMargin` from line-ups so far; 0 if unknown. */
    whoPlays: num(json.expectedMarginTerms?.missingPlayers),
    /** Knowledge of the ratings about both teams; empty if they were not used, as for a market's line. */
    known: json.marginSource === "MARGIN_SOURCE_RATINGS" ? [knowledge(json.homeTeam, json.homeKnown), knowledge(json.awayTeam, json.awayKnown)].flat() : [],
    warnings: (json.warnings ?? []).map((warning) => warning.text ?? ""),
    /** Differential at `minute`; unknown without an explanation, except at a moment. */
    lead: moment ? num(moment.differential) : explanation ? num(explanation.baselinePrediction) : undefined,
    similar: (explanation?.similarGames ?? []).map((game) => ({
      home: game.homeTeam ?? "",
      away: game.awayTeam ?? "",
      /** Its local date, ISO 8601. */
      date: game.gameDate ?? "",
      /** Whether its away team has the part of the shown home team; its differentials then are away − home. */
      mirrored: game.mirrored ?? false,
      /** Differential after the forecast's minute, and at its horizon. */
      lead: num(game.differential),
      atHorizon: num(game.differentialAtHorizon),
      /** Scores after the forecast's minute and at the end, as the game was played; undefined if unknown. */
      score: score(game.homePoints, game.awayPoints),
      final: score(game.finalHomePoints, game.finalAwayPoints),
      /** Differentials at the end of each minute before the horizon, from the first one on; empty if unknown. */
      course: (game.course ?? []).map(num),
    })),
    /**
     * What happened in the similar games that it is made of, after the minute after which they are compared; a game and
     * its mirror image count as two. `sameLead`: games with this lead, to two points; of these, `homeLed` and `turned`:
     * in which the side that is behind led at the horizon.
     */
    summary: summary && numbers(summary, "minute", "games", "sameLead", "homeLed", "turned", "correction"),
    attribution: attribution && {
      beforeTipoff: num(attribution.beforeTipoff),
      minutes: (attribution.minutes ?? []).map(num),
      /** Change by the components beside the linear models. */
      components: num(attribution.components),
    },
    /** What moved the forecast, the largest effect first. */
    contributions: (explanation?.contributions ?? []).map((each) => ({ name: each.name ?? "", points: num(each.points) })),
    /** The models that it is made of, with their predictions and shares. */
    components: (explanation?.components ?? []).map((each) => ({ name: each.name ?? "", points: num(each.prediction), weight: num(each.weight) })),
    calibrationGames: num(explanation?.calibrationGames),
    /** Quantiles by level, ascending; empty where none were sent. */
    quantiles: asked.length ? asked.sort((a, b) => a.level - b.level) : recordedQuantiles(json.distribution ?? []),
  };
}

const STATUSES: Record<string, "live" | "final" | "postponed"> = {
  GAME_STATUS_LIVE: "live",
  GAME_STATUS_FINAL: "final",
  GAME_STATUS_POSTPONED: "postponed",
};

export function shown(json: GameJson) {
  return {
    home: json.homeTeam ?? "",
    away: json.awayTeam ?? "",
    status: STATUSES[json.status ?? ""] ?? ("scheduled" as const),
    /** The status in the feed's words; may be empty. */
    text: json.statusText ?? "",
    homeScore: num(json.homeScore),
    awayScore: num(json.awayScore),
    /** 0 before tip-off, 5 for the first overtime. */
    period: num(json.period),
    /** Seconds left in the period; undefined where the feed shows none. */
    left: optional(json.secondsLeft),
    /** Milliseconds since 1970; NaN where it is not known. Likewise `observed`, when the poller read it, and `published`, when the server stored it. */
    tipOff: time(json.tipOffTime),
    observed: time(json.observedTime),
    published: time(json.publishedTime),
    /** The market's line of the differential and of both teams' points. */
    margin: optional(json.pregameMargin),
    total: optional(json.pregameTotal),
  };
}

export function outcome(json: OutcomeJson) {
  return {
    ...entry(json),
    differential: num(json.differential),
    withdrawn: json.withdrawn ?? false,
    /** Overtimes that the game had at its end; undefined where it was not reported. */
    overtimes: optional(json.overtimes),
    recorded: time(json.recordedTime),
  };
}

export function recorded(json: RecordedPredictionJson) {
  const converted = forecast(json.forecast ?? {});
  const pattern = (json.pattern ?? []).map(num);
  return {
    forecast: converted.isMoment ? converted : { ...converted, lead: pattern.at(-1) ?? converted.lead },
    pattern,
    /** The prices recorded with it; none that were sent after the end of the game. */
    quotes: (json.markets ?? []).filter(({ answer }) => answer?.recording === "MARKET_RECORDING_RECORDED").map(quote),
  };
}

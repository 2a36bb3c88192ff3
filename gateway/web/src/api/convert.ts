/** From the JSON mapping of dejavu.v1 to the types of the page. */
import type { ForecastJson, TeamKnowledgeJson } from "../gen/dejavu/v1/forecast_pb";
import type { GameJson } from "../gen/dejavu/v1/game_service_pb";
import type { MarketSideAnswerJson, OddsJson } from "../gen/dejavu/v1/market_pb";
import type { OutcomeJson, RecordedMarketJson, RecordedPredictionJson } from "../gen/dejavu/v1/record_pb";
import { fixed, signed } from "../model/format";
import type { Line, Quote, Side } from "../model/market";
import { timeOfPlay } from "../model/play";
import type { Forecast, Horizon, Outcome, Recorded, Score, Shown, TeamKnowledge } from "../model/types";

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

function knowledge(team: string | undefined, json: TeamKnowledgeJson | undefined): TeamKnowledge[] {
  return json ? [{ team: team ?? "", deviation: num(json.deviation), finals: num(json.finals), earlier: json.earlierDate ?? "" }] : [];
}

function score(home: JsonNumber, away: JsonNumber): Score | undefined {
  return home === undefined || away === undefined ? undefined : [num(home), num(away)];
}

function line(json: ForecastJson): Line | undefined {
  const given = !["MARGIN_SOURCE_UNSPECIFIED", "MARGIN_SOURCE_RATINGS"].includes(json.marginSource ?? "MARGIN_SOURCE_UNSPECIFIED");
  const [margin, total] = [given ? optional(json.expectedMargin) : undefined, optional(json.pregameTotal)];
  return margin === undefined && total === undefined ? undefined : { margin, total, read: time(json.marginTime) };
}

function side(odds: OddsJson | undefined, answer: MarketSideAnswerJson | undefined): Side {
  const price = odds?.american === undefined ? fixed(num(odds?.decimal), 2) : signed(odds.american, 0);
  return { price, market: num(answer?.fairProbability), model: num(answer?.winProbability) };
}

/** Reasons of warnings that doubt a price; the others doubt the model. */
const OF_THE_PRICE = new Set<unknown>(["WARNING_REASON_IMPLAUSIBLE_DIFFERENCE", "WARNING_REASON_MARKETS_OWN_LINE", "WARNING_REASON_LATE_MOMENT"]);

/** A recorded market; none if it was sent after the end of the game. */
function quote({ market, answer }: RecordedMarketJson): Quote[] {
  if (answer?.recording !== "MARKET_RECORDING_RECORDED") return [];
  return [
    {
      kind: answer.kind === "MARKET_KIND_TOTAL" ? "total" : "lead",
      line: num(market?.line),
      above: side(market?.above, answer.above),
      below: side(market?.below, answer.below),
      margin: num(answer.overround),
      warnings: (answer.warnings ?? []).map((warning) => warning.text ?? ""),
      doubtful: (answer.warnings ?? []).some(({ reason }) => OF_THE_PRICE.has(reason)),
      notice: answer.notice ?? "",
    },
  ];
}

export function forecast(json: ForecastJson): Forecast {
  const { explanation, moment } = json;
  const { attribution, similarSummary: summary } = explanation ?? {};
  const asked = (json.quantiles ?? []).map((q) => ({ level: num(q.level), value: num(q.value) }));
  return {
    ...entry(json),
    home: json.homeTeam ?? "",
    away: json.awayTeam ?? "",
    minute: moment ? timeOfPlay(num(moment.period), num(moment.secondsLeft)) : num(json.elapsedMinutes),
    isMoment: moment !== undefined,
    alpha: num(json.alpha),
    point: num(json.pointForecast),
    lower: num(json.intervalLower),
    upper: num(json.intervalUpper),
    probability: num(json.homeLeadProbability),
    total: json.total && { point: num(json.total.pointForecast), lower: num(json.total.intervalLower), upper: num(json.total.intervalUpper) },
    pointsSoFar: optional(json.totalPoints),
    modelVersion: json.modelVersion ?? "",
    generated: time(json.generatedTime),
    expires: time(json.expiresTime),
    day: json.gameDate ?? "",
    late: (json.late ?? "LATE_REASON_UNSPECIFIED") !== "LATE_REASON_UNSPECIFIED",
    expectedMargin: optional(json.expectedMargin),
    line: line(json),
    whoPlays: num(json.expectedMarginTerms?.missingPlayers),
    // Knowledge of the ratings does not apply to a market's line.
    known: json.marginSource === "MARGIN_SOURCE_RATINGS" ? [knowledge(json.homeTeam, json.homeKnown), knowledge(json.awayTeam, json.awayKnown)].flat() : [],
    warnings: (json.warnings ?? []).map((warning) => warning.text ?? ""),
    lead: moment ? num(moment.differential) : explanation ? num(explanation.baselinePrediction) : undefined,
    similar: (explanation?.similarGames ?? []).map((game) => ({
      home: game.homeTeam ?? "",
      away: game.awayTeam ?? "",
      date: game.gameDate ?? "",
      mirrored: game.mirrored ?? false,
      lead: num(game.differential),
      atHorizon: num(game.differentialAtHorizon),
      score: score(game.homePoints, game.awayPoints),
      final: score(game.finalHomePoints, game.finalAwayPoints),
      course: (game.course ?? []).map(num),
    })),
    summary: summary && {
      minute: num(summary.minute),
      games: num(summary.games),
      sameLead: num(summary.sameLead),
      homeLed: num(summary.homeLed),
      turned: num(summary.turned),
      correction: num(summary.correction),
    },
    attribution: attribution && {
      beforeTipoff: num(attribution.beforeTipoff),
      minutes: (attribution.minutes ?? []).map(num),
      components: num(attribution.components),
    },
    contributions: (explanation?.contributions ?? []).map((each) => ({ name: each.name ?? "", points: num(each.points) })),
    components: (explanation?.components ?? []).map((each) => ({ name: each.name ?? "", points: num(each.prediction), weight: num(each.weight) })),
    calibrationGames: num(explanation?.calibrationGames),
    quantiles: asked.length ? asked.sort((a, b) => a.level - b.level) : recordedQuantiles(json.distribution ?? []),
  };
}

const STATUSES: Record<string, Shown["status"]> = {
  GAME_STATUS_LIVE: "live",
  GAME_STATUS_FINAL: "final",
  GAME_STATUS_POSTPONED: "postponed",
};

export function shown(json: GameJson): Shown {
  return {
    home: json.homeTeam ?? "",
    away: json.awayTeam ?? "",
    status: STATUSES[json.status ?? ""] ?? "scheduled",
    text: json.statusText ?? "",
    homeScore: num(json.homeScore),
    awayScore: num(json.awayScore),
    period: num(json.period),
    left: optional(json.secondsLeft),
    tipOff: time(json.tipOffTime),
    observed: time(json.observedTime),
    published: time(json.publishedTime),
    margin: optional(json.pregameMargin),
    total: optional(json.pregameTotal),
  };
}

export function outcome(json: OutcomeJson): Outcome {
  return {
    ...entry(json),
    differential: num(json.differential),
    withdrawn: json.withdrawn ?? false,
    overtimes: optional(json.overtimes),
    recorded: time(json.recordedTime),
  };
}

export function recorded(json: RecordedPredictionJson): Recorded {
  const converted = forecast(json.forecast ?? {});
  const pattern = (json.pattern ?? []).map(num);
  return {
    forecast: converted.isMoment ? converted : { ...converted, lead: pattern.at(-1) ?? converted.lead },
    pattern,
    quotes: (json.markets ?? []).flatMap(quote),
  };
}

/** Requests of the record's page: scorecards of all forecasts, by minute and by month. */
import { api, path, type Query } from "../api/client";
import { num } from "../api/convert";
import type { CoverageFigureJson, ReliabilityBinJson, ScorecardJson } from "../gen/dejavu/v1/scorecard_pb";
import { gameDay } from "../model/format";
import { MINUTE_OF, type Horizon } from "../model/types";

export type Period = "all" | "days30" | "days365";

export interface Filter {
  horizon: Horizon;
  period: Period;
  team: string;
  replays: boolean;
}

const DAY_MS = 86_400_000;
const DAYS: Record<Period, number | undefined> = { all: undefined, days30: 30, days365: 365 };

function fromDate(period: Period): string | undefined {
  const days = DAYS[period];
  return days === undefined ? undefined : gameDay(Date.now() - days * DAY_MS);
}

/** Parts of a game whose forecasts of a horizon can be chosen, as parameters; each is long enough that most bets in it have a next price. */
export const PARTS: Record<Horizon, Record<string, Query>> = {
  half: { all: {}, quarter1: { maxMinutes: 11 }, quarter2: { minMinutes: 12 } },
  final: { all: {}, half1: { maxMinutes: 23 }, quarter3: { minMinutes: 24, maxMinutes: 35 }, quarter4: { minMinutes: 36 } },
};

/** The filter as parameters of scorecards, leaderboards and lists. */
export function conditions(filter: Filter): Query {
  return {
    horizon: filter.horizon === "final" ? "HORIZON_FINAL" : "HORIZON_HALFTIME",
    fromDate: fromDate(filter.period),
    team: filter.team,
    includeReplays: filter.replays,
  };
}

/** The address of a file with the forecasts that a card counts, and those that it leaves out. */
export function forecastsFile(filter: Filter, kind: "csv" | "parquet"): string {
  return path(`/api/predictions.${kind}`, { ...conditions(filter), settled: true });
}

/** Numbers of games to look at, and of forecasts that a card leaves out, in the order of `strings.record.doubts`. */
export function beware(card: ScorecardJson): number[] {
  const { superseded, withdrawn, lateMarkets, others, sides, ...reasons } = card.leftOut ?? {};
  const late = Object.values(reasons).reduce((sum, one) => sum + one, 0);
  return [card.withdrawnGames, card.correctedGames, card.doubtfulGames, card.unsettledGames, card.unsettledTotals, superseded, withdrawn, late, others, sides, card.revisedLate].map(num);
}

/** A group of forecasts with its scorecard. */
export interface Group {
  name: string;
  card: ScorecardJson;
}

/** Asks for several scorecards, two at a time, so that other callers of the server do not wait; empty ones are left out. */
async function cards(groups: { name: string; query: Query }[]): Promise<Group[]> {
  const found: (Group | undefined)[] = [];
  const waiting = groups.map((group, place) => ({ group, place }));
  const work = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const card = (await api.scorecard(next.group.query)).scorecard;
      if (card && num(card.games)) found[next.place] = { name: next.group.name, card };
    }
  };
  await Promise.all([work(), work()]);
  return found.filter((group) => group !== undefined);
}

const MINUTES_A_GROUP = 6;

/** Scorecards by minute of play, in groups of six minutes. */
export function byMinutes(filter: Filter): Promise<Group[]> {
  const last = MINUTE_OF[filter.horizon] - 1;
  const groups = [];
  for (let from = 1; from <= last; from += MINUTES_A_GROUP) {
    const to = Math.min(last, from + MINUTES_A_GROUP - 1);
    groups.push({ name: `${from}–${to}′`, query: { ...conditions(filter), minMinutes: from, maxMinutes: to } });
  }
  return cards(groups);
}

const MONTHS = 12;

/** Scorecards of the twelve months up to an evening, oldest first. */
export function byMonths(filter: Filter, evening: string): Promise<Group[]> {
  const today = new Date(`${evening}T00:00:00Z`);
  const earliest = fromDate(filter.period) ?? "";
  const groups = Array.from({ length: MONTHS }, (_unused, place) => {
    const back = MONTHS - 1 - place;
    const first = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - back, 1)).toISOString().slice(0, 10);
    const last = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - back + 1, 0)).toISOString().slice(0, 10);
    return { name: first.slice(0, 7), last, query: { ...conditions(filter), fromDate: first > earliest ? first : earliest, toDate: last } };
  });
  return cards(groups.filter((group) => group.last >= earliest));
}

/** The scorecard of the forecasts after one minute of play: one of each game, without the moments that follow. */
export async function afterMinute(filter: Filter, minute: number): Promise<ScorecardJson> {
  return (await api.scorecard({ ...conditions(filter), minMinutes: minute, maxMinutes: minute, completeMinutes: true })).scorecard ?? {};
}

/** The coverage of the intervals that most forecasts have; undefined without any. */
export function mainCoverage(card: ScorecardJson): CoverageFigureJson | undefined {
  return [...(card.coverage ?? [])].sort((a, b) => num(b.forecasts) - num(a.forecasts))[0];
}

/** The minute after which each game is counted once in the record's first sentence: the half. */
export const CALLED_AFTER = 24;

/**
 * The best-populated group of games in which one side had a chance from so many tenths to one more, from 6 on, as below
 * neither side was called; undefined without such games. `won`: the games that this side won. Bins have one forecast of
 * each game, of its end.
 */
export function calls(bins: readonly ReliabilityBinJson[]): { tenths: number; games: number; won: number } | undefined {
  const groups = new Map<number, { tenths: number; games: number; won: number }>();
  for (const bin of bins) {
    const [home, games, rate] = [(num(bin.fromProbability) + num(bin.toProbability)) / 2, num(bin.games), num(bin.rate)];
    const tenths = Math.floor(10 * Math.max(home, 1 - home));
    const before = groups.get(tenths) ?? { tenths, games: 0, won: 0 };
    groups.set(tenths, { tenths, games: before.games + games, won: before.won + Math.round(games * (home > 0.5 ? rate : 1 - rate)) });
  }
  groups.delete(5);
  return [...groups.values()].sort((a, b) => b.games - a.games)[0];
}

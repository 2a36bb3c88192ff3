/** Reliability: how often the home team led, against how often it was forecast to. */
import type { Recorded } from "./types";

export interface Bin {
  from: number;
  to: number;
  forecasts: number;
  games: number;
  /** Mean probability of the forecasts. */
  mean: number;
  /** Share of them after which the home team led. */
  rate: number;
  lower: number;
  upper: number;
}

const Z = 1.959963984540054;

/** Wilson's (1927) 95 % interval of a rate seen in `n` independent trials. */
export function wilson(rate: number, n: number): [number, number] {
  const centre = (rate + (Z * Z) / (2 * n)) / (1 + (Z * Z) / n);
  const half = (Z / (1 + (Z * Z) / n)) * Math.sqrt((rate * (1 - rate)) / n + (Z * Z) / (4 * n * n));
  return [Math.max(0, Math.min(rate, centre - half)), Math.min(1, Math.max(rate, centre + half))];
}

/** Settled forecasts in equal bins of their probability; empty bins are left out. One game is one trial. */
export function reliability(predictions: readonly Recorded[], count = 10): Bin[] {
  const groups: { p: number; led: number; game: string }[][] = Array.from({ length: count }, () => []);
  for (const { forecast, outcome } of predictions) {
    if (!outcome || forecast.late) continue;
    const place = Math.min(count - 1, Math.floor(forecast.probability * count));
    groups[place]?.push({ p: forecast.probability, led: outcome.differential > 0 ? 1 : 0, game: forecast.gameId });
  }
  return groups.flatMap((group, place) => {
    if (!group.length) return [];
    const games = new Set(group.map((one) => one.game)).size;
    const rate = group.reduce((sum, one) => sum + one.led, 0) / group.length;
    const [lower, upper] = wilson(rate, games);
    const mean = group.reduce((sum, one) => sum + one.p, 0) / group.length;
    return [{ from: place / count, to: (place + 1) / count, forecasts: group.length, games, mean, rate, lower, upper }];
  });
}

/** Brier scores on the same forecasts, by game: of the model and of the leader, who wins with certainty (even: ½). */
export function brierBesideLeader(predictions: readonly Recorded[]): { model: number; leader: number; games: number } | undefined {
  const games = new Map<string, { model: number; leader: number; n: number }>();
  for (const { forecast, outcome } of predictions) {
    if (!outcome || forecast.late || forecast.lead === undefined) continue;
    const led = outcome.differential > 0 ? 1 : 0;
    const leader = forecast.lead > 0 ? 1 : forecast.lead < 0 ? 0 : 0.5;
    const sums = games.get(forecast.gameId) ?? { model: 0, leader: 0, n: 0 };
    games.set(forecast.gameId, {
      model: sums.model + (forecast.probability - led) ** 2,
      leader: sums.leader + (leader - led) ** 2,
      n: sums.n + 1,
    });
  }
  if (!games.size) return undefined;
  const all = [...games.values()];
  const mean = (pick: (sums: { model: number; leader: number; n: number }) => number) =>
    all.reduce((total, sums) => total + pick(sums) / sums.n, 0) / all.length;
  return { model: mean((sums) => sums.model), leader: mean((sums) => sums.leader), games: all.length };
}

/** The fan: intervals of the margin from now to the half and to the end. */
import { endOf, overtimesBy } from "./play";
import { MINUTE_OF, type Forecast } from "./types";

export const LEVELS = [0.5, 0.8, 0.95] as const;
export type Level = (typeof LEVELS)[number];

/** An interval of the differential, in points. */
export interface Band {
  level: Level;
  lower: number;
  upper: number;
}

/** The quantile at a level, linear between the neighbouring ones; undefined beyond the outermost. */
export function quantile(quantiles: Forecast["quantiles"], level: number): number | undefined {
  const after = quantiles.findIndex((q) => q.level >= level - 1e-9);
  const next = quantiles[after];
  if (!next) return undefined;
  if (Math.abs(next.level - level) < 1e-9) return next.value;
  const before = quantiles[after - 1];
  if (!before) return undefined;
  const share = (level - before.level) / (next.level - before.level);
  return before.value + share * (next.value - before.value);
}

/**
 * The central intervals of a forecast, innermost first. The one at the forecast's own level is the recorded interval
 * itself, not read from quantiles; levels without data in the forecast are left out.
 */
export function bands(forecast: Forecast): Band[] {
  const found: Band[] = [];
  for (const level of LEVELS) {
    if (Math.abs(1 - forecast.alpha - level) < 1e-9) {
      found.push({ level, lower: forecast.lower, upper: forecast.upper });
      continue;
    }
    const lower = quantile(forecast.quantiles, (1 - level) / 2);
    const upper = quantile(forecast.quantiles, (1 + level) / 2);
    if (lower !== undefined && upper !== undefined) found.push({ level, lower, upper });
  }
  return found;
}

/** One moment of a fan: the point and, for each level, the band's ends. */
export interface FanMoment {
  minute: number;
  point: number;
  bands: Band[];
}

/** The time of play at which a forecast's horizon comes if no further overtime follows. */
export function horizonOf(forecast: Forecast): number {
  return forecast.horizon === "final" ? endOf(overtimesBy(forecast.minute)) : MINUTE_OF.half;
}

/**
 * The moments that are forecast, preceded by the last known margin, which is certain.
 * A horizon that is already reached is left out.
 */
export function anchors(forecasts: readonly Forecast[]): FanMoment[] {
  const minute = Math.max(...forecasts.map((forecast) => forecast.minute));
  const current = forecasts.filter((forecast) => horizonOf(forecast) > minute);
  const start = forecasts.find((forecast) => forecast.minute === minute)?.lead;
  if (start === undefined) return [];
  const levels = LEVELS.filter((level) => current.every((forecast) => bands(forecast).some((band) => band.level === level)));
  return [
    { minute, point: start, bands: levels.map((level) => ({ level, lower: start, upper: start })) },
    ...current
      .map((forecast) => ({
        minute: horizonOf(forecast),
        point: forecast.point,
        bands: bands(forecast).filter((band) => levels.includes(band.level)),
      }))
      .sort((a, b) => a.minute - b.minute),
  ];
}

/** Minutes between two moments of a fan, which has at least so many of them. */
const STEP = 0.5;
const STEPS = 16;

/** Interpolates between two spreads as for a random walk: the square is linear in time. */
function between(from: number, to: number, share: number): number {
  return Math.sqrt((1 - share) * from * from + share * to * to);
}

/** The anchors with moments between them: the point moves in a straight line, the spreads like a random walk's. */
export function fan(moments: readonly FanMoment[]): FanMoment[] {
  const out: FanMoment[] = moments.slice(0, 1);
  moments.slice(1).forEach((to, index) => {
    const from = moments[index] as FanMoment;
    const step = Math.min(STEP, (to.minute - from.minute) / STEPS);
    for (let minute = from.minute + step; minute < to.minute - step / 2; minute += step) {
      const share = (minute - from.minute) / (to.minute - from.minute);
      const point = from.point + share * (to.point - from.point);
      out.push({
        minute,
        point,
        bands: to.bands.map((band, place) => {
          const start = from.bands[place] as Band;
          return {
            level: band.level,
            lower: point - between(from.point - start.lower, to.point - band.lower, share),
            upper: point + between(start.upper - from.point, band.upper - to.point, share),
          };
        }),
      });
    }
    out.push(to);
  });
  return out;
}

/** Range of the y-axis that holds all values and zero, with room at both ends; whole multiples of 5. */
export function yRange(values: readonly number[]): [number, number] {
  const finite = values.filter(Number.isFinite);
  const low = Math.min(0, ...finite);
  const high = Math.max(0, ...finite);
  const room = Math.max(1, 0.03 * (high - low));
  return [Math.floor((low - room) / 5) * 5, Math.ceil((high + room) / 5) * 5];
}

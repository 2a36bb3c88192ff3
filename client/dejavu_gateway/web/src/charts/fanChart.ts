/** Fan chart: the margin so far and the intervals of the forecasts, as lines and bands; outcomes as dots. */
import type uPlot from "uplot";
import { LEVELS, anchors, fan, type FanMoment } from "../model/fan";
import { MINUTE_OF, type Forecast, type SimilarGame } from "../model/types";
import { leads, minutes, quiet } from "./axes";
import type { Palette } from "./theme";

export interface FanInput {
  home: string;
  away: string;
  /** Known differentials at the end of minutes 1, 2, … up to the shown minute. */
  pattern: readonly number[];
  /** The forecasts of the shown minute, one for each horizon that is open. */
  forecasts: readonly Forecast[];
  /** Outcomes, by minute of the horizon. */
  outcomes: readonly { minute: number; differential: number }[];
  /** Overtimes that the game had: then its outcome is not that of minute 48. */
  overtimes: number;
  /** Differentials after the shown minute; drawn faintly. */
  later: readonly number[];
  similar: readonly SimilarGame[];
  similarHorizon: number;
  range: [number, number];
}

export const FAN_SERIES = 1 + 3 + 2 * LEVELS.length;

/** Series: played, played later, point, then upper and lower for each level, then one for each similar game. */
export function fanData(input: FanInput): uPlot.AlignedData {
  const course = fan(anchors(input.forecasts));
  const xs = new Set<number>([0, 48]);
  input.pattern.forEach((_value, index) => xs.add(index + 1));
  input.later.forEach((_value, index) => xs.add(input.pattern.length + index + 1));
  for (const moment of course) xs.add(moment.minute);
  xs.add(input.similarHorizon);
  for (const game of input.similar) game.course.forEach((_change, index) => xs.add(input.pattern.length + index + 1));
  const x = [...xs].sort((a, b) => a - b);
  const at = new Map(course.map((moment) => [moment.minute, moment]));
  const now = input.pattern.length;
  const played = [0, ...input.pattern];
  const all = [...played, ...input.later];
  const pick = (read: (moment: FanMoment) => number | undefined) => x.map((minute) => {
    const moment = at.get(minute);
    return moment ? (read(moment) ?? null) : null;
  });
  const start = played[now] ?? 0;
  return [
    x,
    x.map((minute) => (minute <= now ? (played[minute] ?? null) : null)),
    x.map((minute) => (minute >= now && input.later.length ? (all[minute] ?? null) : null)),
    pick((moment) => moment.point),
    ...LEVELS.flatMap((level) => [
      pick((moment) => moment.bands.find((band) => band.level === level)?.upper),
      pick((moment) => moment.bands.find((band) => band.level === level)?.lower),
    ]),
    // Their actual course, or a straight line to the horizon if it is not known.
    ...input.similar.map((game) =>
      x.map((minute) => {
        if (minute === now) return start;
        if (minute === input.similarHorizon) return game.atHorizon;
        const change = game.course[minute - now - 1];
        return change === undefined ? null : start + change;
      }),
    ),
  ];
}

/** All values that the y-axis must hold: margins, outer bands and outcomes. */
export function extent(pattern: readonly number[], forecasts: readonly Forecast[], outcomes: FanInput["outcomes"]): number[] {
  return [...pattern, ...forecasts.flatMap((one) => [one.lower, one.upper]), ...outcomes.map((one) => one.differential)];
}

export function fanOptions(input: () => FanInput): (colors: Palette) => Omit<uPlot.Options, "width" | "height"> {
  return (colors) => {
    const line = (extra: uPlot.Series): uPlot.Series => ({ points: { show: false }, spanGaps: true, ...extra });
    const edge = line({ width: 0 });
    const shown = input();
    return {
      ...quiet(colors),
      scales: { x: { time: false, range: [0, 48.6] }, y: { range: () => input().range } },
      axes: [minutes(colors, shown.overtimes), leads(colors, shown.home, shown.away)],
      series: [
        {},
        line({ stroke: colors.ink, width: 2.5 * colors.unit }),
        line({ stroke: colors.muted, width: 1.5 * colors.unit, dash: [2, 3].map((length) => length * colors.unit) }),
        line({ stroke: colors.forecast, width: 2 * colors.unit }),
        ...LEVELS.flatMap(() => [edge, edge]),
        ...shown.similar.map(() => line({ stroke: colors.muted, width: colors.unit })),
      ],
      // Outermost first, so that the inner bands lie on top of it.
      bands: LEVELS.map((_level, place) => ({ series: [4 + 2 * place, 5 + 2 * place] as [number, number], fill: colors.fan[place] ?? "" })).reverse(),
      hooks: { drawAxes: [(chart) => zeroLine(chart, colors)], draw: [(chart) => marks(chart, colors, input())] },
    };
  };
}

function zeroLine(chart: uPlot, colors: Palette): void {
  const { ctx, bbox } = chart;
  const y = chart.valToPos(0, "y", true);
  ctx.save();
  ctx.strokeStyle = colors.muted;
  ctx.lineWidth = devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

/** Dots: the margin now, filled; the forecast, as a ring; the outcome, as a dot with a rim. */
function marks(chart: uPlot, colors: Palette, input: FanInput): void {
  const now = input.pattern.length;
  const { unit } = colors;
  if (now) dot(chart, now, input.pattern[now - 1] ?? 0, 5 * unit, colors.ink, colors.surface);
  for (const one of input.forecasts)
    if (MINUTE_OF[one.horizon] > now) dot(chart, MINUTE_OF[one.horizon], one.point, 4 * unit, colors.surface, colors.forecast);
  for (const game of input.similar) dot(chart, input.similarHorizon, game.atHorizon, 3 * unit, colors.muted, colors.surface);
  for (const one of input.outcomes) dot(chart, one.minute, one.differential, 6 * unit, one.differential > 0 ? colors.home : colors.away, colors.surface);
}

export function dot(chart: uPlot, x: number, y: number, radius: number, fill: string, rim: string): void {
  const { ctx } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.arc(chart.valToPos(x, "x", true), chart.valToPos(y, "y", true), radius * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.fill();
  ctx.strokeStyle = rim;
  ctx.lineWidth = 0.4 * radius * devicePixelRatio;
  ctx.stroke();
  ctx.restore();
}

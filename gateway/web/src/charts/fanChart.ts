/** Fan chart: the margin so far and the intervals of the forecasts, as lines and bands; outcomes as dots. */
import type uPlot from "uplot";
import { LEVELS, anchors, fan, horizonOf, type FanMoment } from "../model/fan";
import { endOf } from "../model/play";
import type { Forecast, Played } from "../model/types";
import { across, leads, line, periods, quiet } from "./axes";
import { dot, stroke } from "./marks";
import type { Palette } from "./theme";

export interface FanInput {
  home: string;
  away: string;
  /** Known margins after tip-off up to the shown time, in order. */
  played: readonly Played[];
  /** The forecasts that stand at the shown time, one for each horizon that is open. */
  forecasts: readonly Forecast[];
  /** Outcomes, by minute of the horizon. */
  outcomes: readonly { minute: number; differential: number }[];
  /** Overtimes that the game had: the chart ends with the last one. */
  overtimes: number;
  /** Margins after the shown time; drawn faintly. */
  later: readonly Played[];
  range: [number, number];
}

const TIP_OFF: Played = { minute: 0, lead: 0 };

/** Series: played, played later, point, then upper and lower for each level. */
export function fanData(input: FanInput): uPlot.AlignedData {
  const course = fan(anchors(input.forecasts));
  const before = [TIP_OFF, ...input.played];
  const xs = new Set<number>([...before, ...input.later, ...course].map((one) => one.minute));
  xs.add(endOf(input.overtimes));
  const x = [...xs].sort((a, b) => a - b);
  const at = new Map(course.map((moment) => [moment.minute, moment]));
  const drawn = (points: readonly Played[]) => {
    const leads = new Map(points.map((one) => [one.minute, one.lead]));
    return x.map((minute) => leads.get(minute) ?? null);
  };
  const pick = (read: (moment: FanMoment) => number | undefined) => x.map((minute) => {
    const moment = at.get(minute);
    return moment ? (read(moment) ?? null) : null;
  });
  return [
    x,
    drawn(before),
    drawn(input.later.length ? [before.at(-1) ?? TIP_OFF, ...input.later] : []),
    pick((moment) => moment.point),
    ...LEVELS.flatMap((level) => [
      pick((moment) => moment.bands.find((band) => band.level === level)?.upper),
      pick((moment) => moment.bands.find((band) => band.level === level)?.lower),
    ]),
  ];
}

/** All values that the y-axis must hold: margins, outer bands and outcomes. */
export function extent(margins: readonly Played[], forecasts: readonly Forecast[], outcomes: FanInput["outcomes"]): number[] {
  return [...margins.map((one) => one.lead), ...forecasts.flatMap((one) => [one.lower, one.upper]), ...outcomes.map((one) => one.differential)];
}

export function fanOptions(input: () => FanInput): (colors: Palette) => Omit<uPlot.Options, "width" | "height"> {
  return (colors) => {
    const edge: uPlot.Series = { width: 0, points: { show: false } };
    const shown = input();
    return {
      ...quiet(colors),
      scales: { x: { time: false, range: across(endOf(shown.overtimes)) }, y: { range: () => input().range } },
      axes: [periods(colors, shown.overtimes), leads(colors, shown.home, shown.away)],
      series: [
        {},
        line(colors, colors.ink, 2.5),
        line(colors, colors.muted, 1.5, [2, 3]),
        line(colors, colors.forecast, 2),
        ...LEVELS.flatMap(() => [edge, edge]),
      ].map((one) => ({ ...one, spanGaps: true })),
      // Outermost first, so that the inner bands lie on top of it.
      bands: LEVELS.map((_level, place) => ({ series: [4 + 2 * place, 5 + 2 * place] as [number, number], fill: colors.fan[place] ?? "" })).reverse(),
      hooks: { drawAxes: [(chart) => zeroLine(chart, colors)], draw: [(chart) => marks(chart, colors, input())] },
    };
  };
}

function zeroLine(chart: uPlot, colors: Palette): void {
  const y = chart.valToPos(0, "y", true);
  stroke(chart, colors.muted, 1, [chart.bbox.left, y], [chart.bbox.left + chart.bbox.width, y]);
}

/** Dots: the margin now, filled; the forecast, as a ring; the outcome, as a dot with a rim. */
function marks(chart: uPlot, colors: Palette, input: FanInput): void {
  const now = input.played.at(-1);
  const { unit } = colors;
  if (now) dot(chart, now.minute, now.lead, 5 * unit, colors.ink, colors.surface);
  for (const one of input.forecasts)
    if (horizonOf(one) > (now?.minute ?? 0)) dot(chart, horizonOf(one), one.point, 4 * unit, colors.surface, colors.forecast);
  for (const one of input.outcomes) dot(chart, one.minute, one.differential, 6 * unit, one.differential > 0 ? colors.home : colors.away, colors.surface);
}

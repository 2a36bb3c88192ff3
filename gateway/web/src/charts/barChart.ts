/** Bars above and below zero: the terms of the forecast. */
import type uPlot from "uplot";
import { axis, leads, quiet } from "./axes";
import type { Paths } from "./Chart";
import type { Palette } from "./theme";

export interface Bar {
  name: string;
  value: number;
}

export function barData(bars: readonly Bar[]): uPlot.AlignedData {
  return [bars.map((_bar, place) => place), bars.map((bar) => Math.max(0, bar.value)), bars.map((bar) => Math.min(0, bar.value))];
}

export function barOptions(bars: () => readonly Bar[], home: () => string, away: () => string): (colors: Palette, paths: Paths) => Omit<uPlot.Options, "width" | "height"> {
  return (colors, paths) => {
    const drawn = paths.bars?.({ size: [0.75, 28] });
    const series = (color: string): uPlot.Series => ({ fill: color, width: 0, points: { show: false }, ...(drawn && { paths: drawn }) });
    return {
      ...quiet(colors),
      scales: {
        x: { time: false, range: () => [-0.7, bars().length - 0.3] },
        y: { range: (_chart, low, high) => [Math.min(-1, low * 1.1), Math.max(1, high * 1.1)] },
      },
      axes: [
        axis(colors, 28, { grid: { show: false }, splits: (chart) => spread(bars(), chart.width / colors.unit), values: (_chart, places) => places.map((place) => bars()[place]?.name ?? "") }),
        { ...leads(colors, home(), away()), space: 20 * colors.unit },
      ],
      series: [{}, series(colors.home), series(colors.away)],
    };
  };
}

/** Places of the names that fit: the first and every n-th one after it. */
function spread(bars: readonly Bar[], width: number): number[] {
  const every = Math.max(1, Math.ceil((bars.length * 46) / Math.max(1, width - 70)));
  return bars.map((_bar, place) => place).filter((place) => place % every === 0);
}

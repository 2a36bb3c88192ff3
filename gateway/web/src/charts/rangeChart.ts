/** Measured points with their intervals, and a reference line. */
import type uPlot from "uplot";
import { line, names, percents, quiet } from "./axes";
import { dot, stroke } from "./marks";
import type { Palette } from "./theme";

export interface RangePoint {
  x: number;
  y: number;
  lower: number;
  upper: number;
}

export interface RangeInput {
  points: readonly RangePoint[];
  /** Names of the places 0, 1, … of the x-axis; without them it shows probabilities. */
  labels?: readonly string[];
  /** The reference line: a level, or the diagonal. */
  nominal: number | "diagonal";
  range: [number, number];
}

export function rangeData(input: RangeInput): uPlot.AlignedData {
  const sorted = [...input.points].sort((a, b) => a.x - b.x);
  const width = input.labels ? input.labels.length - 0.5 : 1;
  const start = input.labels ? -0.5 : 0;
  const x = [start, ...sorted.map((point) => point.x), width];
  return [
    x,
    x.map((at) => (input.nominal === "diagonal" ? at : input.nominal)),
    [null, ...sorted.map((point) => point.y), null],
  ];
}

export function rangeOptions(input: () => RangeInput): (colors: Palette) => Omit<uPlot.Options, "width" | "height"> {
  return (colors) => {
    const labels = input().labels;
    const ticks = () => {
      const [low, high] = input().range;
      const step = high - low > 0.6 ? 0.25 : high - low > 0.25 ? 0.1 : 0.05;
      const first = Math.ceil(low / step - 1e-9);
      return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_unused, place) => (first + place) * step);
    };
    return {
      ...quiet(colors),
      scales: {
        x: { time: false, range: labels ? [-0.5, labels.length - 0.5] : [-0.02, 1.02] },
        y: { range: () => [input().range[0] - 0.01, input().range[1] + 0.01] },
      },
      axes: [labels ? names(colors, labels) : percents(colors), { ...percents(colors), splits: ticks }],
      series: [{}, line(colors, colors.muted, 1.5, [6, 4]), line(colors, "transparent", 1)],
      hooks: { draw: [(chart) => input().points.forEach((point) => whisker(chart, colors, point))] },
    };
  };
}

function whisker(chart: uPlot, colors: Palette, point: RangePoint): void {
  const x = chart.valToPos(point.x, "x", true);
  stroke(chart, colors.forecast, 2 * colors.unit, [x, chart.valToPos(point.lower, "y", true)], [x, chart.valToPos(point.upper, "y", true)]);
  dot(chart, point.x, point.y, 5 * colors.unit, colors.forecast, colors.surface);
}

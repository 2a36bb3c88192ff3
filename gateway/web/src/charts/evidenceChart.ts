/** E-values over the games, on a logarithmic scale, beside the value from which a statement is shown. */
import type uPlot from "uplot";
import { THRESHOLD } from "../model/models";
import { axis, line, quiet } from "./axes";
import type { Palette } from "./theme";

export interface EvidencePoint {
  games: number;
  notWorse: number;
  worse: number;
}

/** Powers of ten that the chart shows; values beyond are drawn at its edge. */
const LEAST = -3;
const MOST = 6;

function power(value: number): number {
  return Math.max(LEAST, Math.min(MOST, Math.log10(value)));
}

/** Series: threshold, no worse, worse; all as powers of ten. */
export function evidenceData(points: readonly EvidencePoint[]): uPlot.AlignedData {
  return [
    points.map((point) => point.games),
    points.map(() => Math.log10(THRESHOLD)),
    points.map((point) => power(point.notWorse)),
    points.map((point) => power(point.worse)),
  ];
}

export function evidenceOptions(points: () => readonly EvidencePoint[]): (colors: Palette) => Omit<uPlot.Options, "width" | "height"> {
  return (colors) => {
    const series = (one: uPlot.Series): uPlot.Series => ({ ...one, points: { show: points().length === 1 } });
    return {
      ...quiet(colors),
      scales: {
        x: { time: false, range: (_chart, first, last) => [Math.min(first, 0), Math.max(last, 1)] },
        y: { range: (_chart, low, high) => [Math.min(-1, Math.floor(low)), Math.max(2, Math.ceil(high))] },
      },
      axes: [
        axis(colors, 28, { grid: { show: false }, values: (_chart, games) => games.map((value) => (Number.isInteger(value) ? `${value || ""}` : "")) }),
        axis(colors, 76, { splits: (_chart, _axis, low, high) => Array.from({ length: high - low + 1 }, (_unused, place) => low + place), values: (_chart, powers) => powers.map(tick) }),
      ],
      series: [{}, line(colors, colors.muted, 1.5, [6, 4]), series(line(colors, colors.forecast, 2)), series(line(colors, colors.away, 2, [2, 3]))],
    };
  };
}

/** A power of ten: "1,000", "0.01"; the edges say that more lies beyond. */
function tick(power: number): string {
  const text = power < 0 ? (10 ** power).toFixed(-power) : (10 ** power).toLocaleString();
  return power === MOST ? `≥ ${text}` : power === LEAST ? `≤ ${text}` : text;
}

/** Axes that all charts share. */
import type uPlot from "uplot";
import type { Palette } from "./theme";

/** Common options of all axes. */
export function common(colors: Palette): uPlot.Axis {
  return {
    stroke: colors.muted,
    font: `${12 * colors.unit}px system-ui, sans-serif`,
    grid: { stroke: colors.grid, width: 1 },
    ticks: { show: false },
  };
}

/** Minutes of play, marked at the ends of the quarters; the end is that of overtime if there was one. */
export function minutes(colors: Palette, overtimes = 0): uPlot.Axis {
  const end = overtimes > 1 ? `${overtimes} OT` : overtimes ? "OT" : "end";
  return {
    ...common(colors),
    splits: () => [0, 12, 24, 36, 48],
    values: (_chart, splits) => splits.map((minute) => ({ 24: "half", 48: end })[minute] ?? `${minute}′`),
    size: 28 * colors.unit,
    gap: 4,
  };
}

/** Leads as team and points, without signs. */
export function leads(colors: Palette, home: string, away: string): uPlot.Axis {
  return {
    ...common(colors),
    size: 68 * colors.unit,
    gap: 6,
    values: (_chart, splits) => splits.map((value) => (value === 0 ? "even" : `${value > 0 ? home : away} +${Math.abs(value)}`)),
  };
}

/** Probabilities from 0 to 1, in percent. */
export function percents(colors: Palette, splits = [0, 0.25, 0.5, 0.75, 1]): uPlot.Axis {
  return {
    ...common(colors),
    size: 52 * colors.unit,
    gap: 6,
    splits: () => splits,
    values: (_chart, all) => all.map((value) => `${Math.round(value * 100)} %`),
  };
}

/** Names at the places 0, 1, …; only every n-th one where not all fit. */
export function names(colors: Palette, labels: readonly string[]): uPlot.Axis {
  return {
    ...common(colors),
    grid: { show: false },
    size: 28 * colors.unit,
    gap: 4,
    splits: () => labels.map((_label, place) => place),
    values: (chart, splits) => {
      const every = Math.ceil((labels.length * 58 * colors.unit) / Math.max(1, chart.width - 60));
      return splits.map((place) => (place % every ? "" : (labels[place] ?? "")));
    },
  };
}

/** Fixed, quiet options: no legend, no cursor; room for the halves of the last labels. */
export function quiet({ unit }: Palette): Pick<uPlot.Options, "legend" | "cursor" | "padding"> {
  return { legend: { show: false }, cursor: { show: false }, padding: [12 * unit, 18 * unit, 0, 0] };
}

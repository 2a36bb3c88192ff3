/** Axes that all charts share. */
import type uPlot from "uplot";
import { endOf, REGULATION } from "../model/play";
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

/** Range of an axis of minutes, with room for the dot at its end. */
export function across(end: number, start = 0): [number, number] {
  return [start, end + (end - start) / 80];
}

/**
 * Minutes of play, marked at the ends of the periods; from a later start on, each minute by the clock of the last quarter.
 * Where not all of the last names fit, only that of the end is shown.
 */
export function minutes(colors: Palette, overtimes = 0, start = 0): uPlot.Axis {
  const ends = Array.from({ length: overtimes }, (_unused, place) => endOf(place + 1));
  const marks = start ? Array.from({ length: REGULATION - start }, (_unused, place) => start + place) : [0, 12, 24, 36];
  const name = (minute: number, room: number) => {
    const overtime = ends.indexOf(minute) + 1;
    if (overtime) return overtime === overtimes || 5 * room > 34 ? `${overtime > 1 ? overtime : ""}OT` : "";
    if (minute === REGULATION && !overtimes) return "end";
    if (start) return room > 34 || minute === start ? `${REGULATION - minute}:00` : "";
    if (minute === REGULATION && 5 * room < 34) return "";
    return minute === 24 ? "half" : `${minute}′`;
  };
  return {
    ...common(colors),
    splits: () => [...marks, REGULATION, ...ends],
    values: (chart, splits) => {
      const room = (chart.width / colors.unit - 80) / (endOf(overtimes) - start); // of a minute
      return splits.map((minute) => name(minute, room));
    },
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
    incrs: [1, 2, 5, 10, 20, 50],
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

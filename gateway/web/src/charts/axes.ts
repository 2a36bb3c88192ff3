/** Axes that all charts share. */
import type uPlot from "uplot";
import { endOf, REGULATION } from "../model/play";
import type { Palette } from "./theme";

/** An axis with so much room for its names, at the usual size of type. */
export function axis(colors: Palette, room: number, own: uPlot.Axis): uPlot.Axis {
  return {
    stroke: colors.muted,
    font: `${12 * colors.unit}px system-ui, sans-serif`,
    grid: { stroke: colors.grid, width: 1 },
    ticks: { show: false },
    size: room * colors.unit,
    gap: 5,
    ...own,
  };
}

/** A line of a chart; `dash` and `width` at the usual size of type. */
export function line(colors: Palette, stroke: string, width: number, dash: number[] = []): uPlot.Series {
  return { stroke, width: width * colors.unit, dash: dash.map((length) => length * colors.unit), points: { show: false } };
}

/** Range of an axis of minutes, with room for the dot at its end. */
export function across(end: number, start = 0): [number, number] {
  return [start, end + (end - start) / 80];
}

/** The ends of the overtimes. */
function overtimeEnds(overtimes: number): number[] {
  return Array.from({ length: overtimes }, (_unused, place) => endOf(place + 1));
}

/** Periods of a game: lines at their ends, and their names between: "Q1" to "Q4", "OT", "OT2". Names that do not fit are left out. */
export function periods(colors: Palette, overtimes = 0): uPlot.Axis {
  const ends = [0, 12, 24, 36, REGULATION, ...overtimeEnds(overtimes)];
  const middles = ends.slice(1).map((end, place) => (end + (ends[place] as number)) / 2);
  const name = (place: number) => (place < 4 ? `Q${place + 1}` : place === 4 ? "OT" : `OT${place - 3}`);
  return axis(colors, 28, {
    grid: { stroke: colors.grid, width: 1, filter: (_chart, splits) => splits.map((minute) => (ends.includes(minute) ? minute : null)) },
    splits: () => [...ends, ...middles].sort((a, b) => a - b),
    values: (chart, splits) => {
      const room = (chart.width / colors.unit - 80) / endOf(overtimes); // of a minute
      return splits.map((minute) => {
        const place = middles.indexOf(minute);
        return place < 0 || (place > 3 && 5 * room < 26) ? "" : name(place);
      });
    },
  });
}

/** The last minutes from a start on, each by the clock of the last quarter, and the ends of the overtimes, the last of which is always named. */
export function lastMinutes(colors: Palette, overtimes: number, start: number): uPlot.Axis {
  const ends = overtimeEnds(overtimes);
  const name = (minute: number, room: number) => {
    const overtime = ends.indexOf(minute) + 1;
    if (overtime) return overtime === overtimes || 5 * room > 34 ? `OT${overtime > 1 ? overtime : ""}` : "";
    if (minute === REGULATION && !overtimes) return "end";
    return room > 34 || minute === start ? `${REGULATION - minute}:00` : "";
  };
  return axis(colors, 28, {
    splits: () => [...Array.from({ length: REGULATION - start }, (_unused, place) => start + place), REGULATION, ...ends],
    values: (chart, splits) => {
      const room = (chart.width / colors.unit - 80) / (endOf(overtimes) - start); // of a minute
      return splits.map((minute) => name(minute, room));
    },
  });
}

/** Leads as team and points, without signs. */
export function leads(colors: Palette, home: string, away: string): uPlot.Axis {
  return axis(colors, 68, {
    incrs: [1, 2, 5, 10, 20, 50],
    values: (_chart, splits) => splits.map((value) => (value === 0 ? "even" : `${value > 0 ? home : away} +${Math.abs(value)}`)),
  });
}

/** The probability that a team wins: above the middle the home team's, below it the other's. */
export function chances(colors: Palette, home: string, away: string): uPlot.Axis {
  return axis(colors, 84, {
    splits: () => [0, 0.25, 0.5, 0.75, 1],
    values: (_chart, all) => all.map((value) => (value === 0.5 ? "50 %" : `${value > 0.5 ? home : away} ${Math.round(100 * Math.max(value, 1 - value))} %`)),
  });
}

/** Probabilities from 0 to 1, in percent. */
export function percents(colors: Palette, splits = [0, 0.25, 0.5, 0.75, 1]): uPlot.Axis {
  return axis(colors, 52, {
    splits: () => splits,
    values: (_chart, all) => all.map((value) => `${Math.round(value * 100)} %`),
  });
}

/** Names at the places 0, 1, …; only every n-th one where not all fit. */
export function names(colors: Palette, labels: readonly string[]): uPlot.Axis {
  return axis(colors, 28, {
    grid: { show: false },
    splits: () => labels.map((_label, place) => place),
    values: (chart, splits) => {
      const every = Math.ceil((labels.length * 58 * colors.unit) / Math.max(1, chart.width - 60));
      return splits.map((place) => (place % every ? "" : (labels[place] ?? "")));
    },
  });
}

/** Fixed, quiet options: no legend, no cursor; room for the halves of the last labels. */
export function quiet({ unit }: Palette): Pick<uPlot.Options, "legend" | "cursor" | "padding"> {
  return { legend: { show: false }, cursor: { show: false }, padding: [12 * unit, 18 * unit, 0, 0] };
}

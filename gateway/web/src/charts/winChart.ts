/** The probability that the home team wins, over the game; a forecast holds until the next one is made, if that is soon. */
import type uPlot from "uplot";
import { endOf, HOLDS, isGap, isWhole, REGULATION } from "../model/play";
import type { CoursePoint } from "../model/types";
import { across, chances, lastMinutes, periods, quiet } from "./axes";
import { dot } from "./fanChart";
import type { Paths } from "./Chart";
import type { Palette } from "./theme";

export interface WinInput {
  points: readonly CoursePoint[];
  /** The same by the market, at times of forecasts. */
  market?: readonly { minute: number; probability: number }[] | undefined;
  home: string;
  away: string;
  /** The shown time of play. */
  minute: number;
  /** Whether the home team won, once that is known. */
  homeWon: boolean | undefined;
  /** Overtimes that the game had. */
  overtimes: number;
  /** The minute with which the chart begins. */
  start: number;
}

/** The last two minutes and overtime have their own chart, if there are forecasts between their ends. */
export const LAST_MINUTES = REGULATION - 2;
export function hasLastMinutes(points: readonly CoursePoint[]): boolean {
  return points.some((one) => one.minute > LAST_MINUTES && !isWhole(one.minute));
}

export function winData(input: WinInput): uPlot.AlignedData {
  const last = input.points.at(-1);
  const end = last && input.homeWon !== undefined ? [{ ...last, minute: endOf(input.overtimes) }] : [];
  const minutes: number[] = [];
  const probabilities: (number | null)[] = [];
  for (const point of [...input.points, ...end]) {
    const before = minutes.at(-1);
    if (before !== undefined && isGap(before, point.minute)) {
      minutes.push(before + HOLDS);
      probabilities.push(null);
    }
    minutes.push(point.minute);
    probabilities.push(point.probability);
  }
  return [
    minutes,
    probabilities.map((one) => (one === null ? null : Math.max(0.5, one))),
    probabilities.map((one) => (one === null ? null : Math.min(0.5, one))),
    marketAt(minutes, input.market ?? []),
    probabilities,
  ];
}

/** The market's probability at each of some minutes: undefined where the price before still holds, and null, a gap, where it does not. */
function marketAt(minutes: readonly number[], market: readonly { minute: number; probability: number }[]): (number | null | undefined)[] {
  const at = new Map(market.map((one) => [one.minute, one.probability]));
  let last = -Infinity;
  return minutes.map((minute) => {
    if (at.has(minute)) last = minute;
    return at.get(minute) ?? (isGap(last, minute) ? null : undefined);
  });
}

export function winOptions(input: () => WinInput): (colors: Palette, paths: Paths) => Omit<uPlot.Options, "width" | "height"> {
  return (colors, paths) => {
    const stepped = paths.stepped?.({ align: 1 });
    const series = (extra: uPlot.Series): uPlot.Series => ({ points: { show: false }, ...(stepped && { paths: stepped }), ...extra });
    const end = endOf(input().overtimes);
    return {
      ...quiet(colors),
      scales: { x: { time: false, range: across(end, input().start) }, y: { range: [-0.02, 1.02] } },
      axes: [
        input().start ? lastMinutes(colors, input().overtimes, input().start) : periods(colors, input().overtimes),
        chances(colors, input().home, input().away),
      ],
      series: [
        {},
        series({ width: 0, fill: colors.homeTint, fillTo: 0.5 }),
        series({ width: 0, fill: colors.awayTint, fillTo: 0.5 }),
        series({ stroke: colors.muted, width: 2 * colors.unit, dash: [4 * colors.unit, 3 * colors.unit] }),
        series({ stroke: colors.ink, width: 2 * colors.unit }), // last: the dots of the hook are drawn with its dashes
      ],
      hooks: {
        draw: [
          (chart) => {
            const { minute, points, homeWon } = input();
            const shown = points.filter((point) => point.minute <= minute).at(-1);
            if (shown && shown.minute >= input().start) dot(chart, shown.minute, shown.probability, 5 * colors.unit, colors.ink, colors.surface);
            if (homeWon !== undefined) dot(chart, end, homeWon ? 1 : 0, 6 * colors.unit, homeWon ? colors.home : colors.away, colors.surface);
          },
        ],
      },
    };
  };
}

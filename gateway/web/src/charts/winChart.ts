/** The probability that the home team wins, over the game; a forecast holds until the next one is made, if that is soon. */
import type uPlot from "uplot";
import { endOf, HOLDS, isGap, isWhole, REGULATION } from "../model/play";
import type { Swing } from "../model/story";
import type { Chance, CoursePoint } from "../model/types";
import { across, chances, lastMinutes, line, periods, quiet } from "./axes";
import { dot } from "./marks";
import type { Paths } from "./Chart";
import type { Palette } from "./theme";

export interface WinInput {
  points: readonly CoursePoint[];
  /** The market's probability, in order of time, where prices are known; drawn dashed. Whether it is there belongs to the chart's shape. */
  market?: readonly Chance[] | undefined;
  /** The swings to mark and name, the largest first. */
  swings: readonly Swing[];
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

/** The probability that stands at a time of play: the newest one holds until the next, if that is soon. */
function standing(points: readonly Chance[], minute: number): number | null {
  const after = points.findIndex((point) => point.minute > minute);
  const last = points[(after < 0 ? points.length : after) - 1];
  if (!last) return null;
  const next = points[after]?.minute;
  const holds = next === undefined ? minute === last.minute : !isGap(last.minute, next) || minute < last.minute + HOLDS;
  return holds ? last.probability : null;
}

/** Times at which a line begins, changes or ends. */
function times(points: readonly Chance[]): number[] {
  return points.flatMap(({ minute }, place) => {
    const next = points[place + 1];
    return next && isGap(minute, next.minute) ? [minute, minute + HOLDS] : [minute];
  });
}

/** Series: above the middle, below it, the probability, and the market's where it is known. */
export function winData(input: WinInput): uPlot.AlignedData {
  const last = input.points.at(-1);
  const points = [...input.points, ...(last && input.homeWon !== undefined ? [{ ...last, minute: endOf(input.overtimes) }] : [])];
  const minutes = [...new Set([...times(points), ...times(input.market ?? [])])].sort((a, b) => a - b);
  const probabilities = minutes.map((minute) => standing(points, minute));
  return [
    minutes,
    probabilities.map((one) => (one === null ? null : Math.max(0.5, one))),
    probabilities.map((one) => (one === null ? null : Math.min(0.5, one))),
    probabilities,
    ...(input.market ? [minutes.map((minute) => standing(input.market ?? [], minute))] : []),
  ];
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
        series(line(colors, colors.ink, 2)),
        ...(input().market ? [series(line(colors, colors.forecast, 1.5, [6, 3]))] : []),
      ],
      hooks: {
        drawAxes: [(chart) => shadeSwings(chart, colors, input())],
        draw: [
          (chart) => {
            const { minute, points, homeWon } = input();
            nameSwings(chart, colors, input());
            const shown = points.filter((point) => point.minute <= minute).at(-1);
            if (shown && shown.minute >= input().start) dot(chart, shown.minute, shown.probability, 5 * colors.unit, colors.ink, colors.surface);
            if (homeWon !== undefined) dot(chart, end, homeWon ? 1 : 0, 6 * colors.unit, homeWon ? colors.home : colors.away, colors.surface);
          },
        ],
      },
    };
  };
}

/** The place of a swing in pixels of the canvas. */
function placeOf(chart: uPlot, { from, to }: Swing): [left: number, right: number] {
  return [chart.valToPos(from.minute, "x", true), chart.valToPos(to.minute, "x", true)];
}

/** The names of swings at the edges of their teams: "BOS +31"; not those that a larger one's name is in the way of. */
function nameSwings(chart: uPlot, colors: Palette, { swings, home, away }: WinInput): void {
  const { ctx, bbox } = chart;
  const room = 4 * devicePixelRatio;
  const taken: { top: boolean; left: number; right: number }[] = [];
  ctx.save();
  ctx.font = `600 ${12 * colors.unit * devicePixelRatio}px system-ui, sans-serif`;
  ctx.fillStyle = colors.ink;
  ctx.strokeStyle = colors.surface;
  ctx.lineWidth = room;
  ctx.setLineDash([]);
  ctx.lineJoin = "round";
  ctx.textAlign = "left";
  for (const swing of swings) {
    const top = swing.percent > 0;
    const text = `${top ? home : away} +${Math.abs(swing.percent)} %`;
    const width = ctx.measureText(text).width;
    const [first, last] = placeOf(chart, swing);
    const left = Math.max(bbox.left, Math.min(bbox.left + bbox.width - width - 4 * room, (first + last - width) / 2));
    if (taken.some((one) => one.top === top && left < one.right + room && one.left < left + width + room)) continue;
    taken.push({ top, left, right: left + width });
    ctx.textBaseline = top ? "top" : "bottom";
    const y = top ? bbox.top + room : bbox.top + bbox.height - room;
    ctx.strokeText(text, left, y);
    ctx.fillText(text, left, y);
  }
  ctx.restore();
}

function shadeSwings(chart: uPlot, colors: Palette, { swings }: WinInput): void {
  const { ctx, bbox } = chart;
  ctx.save();
  ctx.fillStyle = colors.grid;
  for (const swing of swings) {
    const [left, right] = placeOf(chart, swing);
    ctx.fillRect(left + devicePixelRatio, bbox.top, right - left - 2 * devicePixelRatio, bbox.height); // neighbors stay apart
  }
  ctx.restore();
}

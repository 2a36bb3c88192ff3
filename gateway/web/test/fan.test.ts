import { expect, test } from "vitest";
import { extent, fanData } from "../src/charts/fanChart";
import { hasLastMinutes, winData } from "../src/charts/winChart";
import { anchors, bands, fan, quantile, yRange } from "../src/model/fan";
import { made } from "./made";

const LEVELS = Array.from({ length: 50 }, (_unused, place) => (1 + 2 * place) / 100);
/** A normal distribution's quantiles would do; a uniform one's are easier to check. */
const uniform = (low: number, high: number) => LEVELS.map((level) => ({ level, value: low + level * (high - low) }));

const point = (minute: number, probability = 0.5) => ({ minute, lead: 0, probability, sequence: 0 });

test("a quantile between two levels lies in a straight line between them", () => {
  expect(quantile(uniform(-50, 50), 0.1)).toBeCloseTo(-40, 9);
  expect(quantile(uniform(-50, 50), 0.25)).toBeCloseTo(-25, 9);
});

test("a quantile beyond the outermost level is unknown", () => {
  expect(quantile(uniform(-50, 50), 0.001)).toBeUndefined();
  expect(quantile(uniform(-50, 50), 0.999)).toBeUndefined();
  expect(quantile([], 0.5)).toBeUndefined();
});

test("the band at the forecast's own level is the recorded interval", () => {
  const found = bands(made({ alpha: 0.05, lower: -12.3, upper: 20.1, quantiles: uniform(-50, 50) }));
  expect(found.map((band) => band.level)).toEqual([0.5, 0.8, 0.95]);
  expect(found[2]).toEqual({ level: 0.95, lower: -12.3, upper: 20.1 });
});

test("without quantiles only the recorded interval is drawn", () => {
  expect(bands(made({ alpha: 0.05 })).map((band) => band.level)).toEqual([0.95]);
  expect(bands(made({ alpha: 0.1 }))).toEqual([]);
});

test("a fan starts at the last known lead and ends at the forecasts", () => {
  const half = made({ horizon: "half", minute: 18, lead: 6, point: 7, lower: 0, upper: 14 });
  const end = made({ horizon: "final", minute: 18, lead: 6, point: 8, lower: -15, upper: 30 });
  const moments = fan(anchors([end, half]));
  expect(moments[0]).toEqual({ minute: 18, point: 6, bands: [{ level: 0.95, lower: 6, upper: 6 }] });
  expect(moments.find((one) => one.minute === 24)?.bands[0]).toEqual({ level: 0.95, lower: 0, upper: 14 });
  expect(moments.at(-1)).toEqual({ minute: 48, point: 8, bands: [{ level: 0.95, lower: -15, upper: 30 }] });
});

test("a fan only widens, and contains its point", () => {
  const end = made({ minute: 18, lead: 6, point: 8, lower: -15, upper: 30, quantiles: uniform(-20, 36) });
  const widths = fan(anchors([end])).map((moment) => moment.bands.map((band) => band.upper - band.lower));
  for (const [place, width] of widths.slice(1).entries())
    for (const [level, value] of width.entries()) expect(value).toBeGreaterThanOrEqual((widths[place]?.[level] ?? 0) - 1e-9);
  for (const moment of fan(anchors([end])))
    for (const band of moment.bands) {
      expect(band.lower).toBeLessThanOrEqual(moment.point);
      expect(band.upper).toBeGreaterThanOrEqual(moment.point);
    }
});

test("a forecast of an earlier minute than the newest is no anchor", () => {
  const half = made({ horizon: "half", minute: 23 });
  const end = made({ horizon: "final", minute: 30 });
  expect(anchors([half, end]).map((one) => one.minute)).toEqual([30, 48]);
  expect(anchors([])).toEqual([]);
});

test("the range of the axis holds every value and zero", () => {
  for (const values of [[-3, 55.2], [12, 31], [-44.9, -2], [0], [40], [-70]]) {
    const [low, high] = yRange(values);
    expect(low).toBeLessThanOrEqual(Math.min(0, ...values));
    expect(high).toBeGreaterThanOrEqual(Math.max(0, ...values));
    expect([Math.abs(low % 5), Math.abs(high % 5)]).toEqual([0, 0]);
  }
});

test("in overtime the fan goes from the lead of the moment to the end of that overtime", () => {
  const now = made({ minute: 50.825, isMoment: true, lead: -2, point: -1.5, lower: -9, upper: 7 });
  const moments = fan(anchors([now]));
  expect(moments[0]).toEqual({ minute: 50.825, point: -2, bands: [{ level: 0.95, lower: -2, upper: -2 }] });
  expect(moments.at(-1)).toEqual({ minute: 53, point: -1.5, bands: [{ level: 0.95, lower: -9, upper: 7 }] });
  expect(anchors([made({ minute: 53, isMoment: true, lead: 0 })]).at(-1)?.minute).toBe(58);
});

test("in the last second a fan has its shape, with few moments", () => {
  const minutes = fan(anchors([made({ minute: 47.99, isMoment: true, lead: 1 })])).map((one) => one.minute);
  expect(minutes.length).toBeGreaterThan(8);
  expect(minutes.every((minute, place) => !place || minute > minutes[place - 1]!)).toBe(true);
});

test("the played line goes through the moments to the shown one, the later line goes on from there, and both are in range", () => {
  const input = {
    home: "BOS", away: "LAL", forecasts: [], outcomes: [], overtimes: 1,
    played: [{ minute: 1, lead: 2 }, { minute: 1.5, lead: 4 }],
    later: [{ minute: 2, lead: 3 }, { minute: 50.5, lead: -14 }],
    range: [-10, 10] as [number, number],
  };
  const [minutes, line, after] = fanData(input);
  const drawn = (values: unknown) => (values as (number | null)[]).flatMap((value, place) => (value === null ? [] : [[minutes[place], value]]));
  expect(drawn(line)).toEqual([[0, 0], [1, 2], [1.5, 4]]);
  expect(drawn(after)).toEqual([[1.5, 4], [2, 3], [50.5, -14]]);
  expect(minutes.at(-1)).toBe(53);
  expect(extent([...input.played, ...input.later], [], [])).toContain(-14);
});

test("the chance of a win is drawn to the end of the last overtime, and its last minutes apart if they have moments", () => {
  const [minutes] = winData({ home: "BOS", away: "LAL", points: [point(47), point(50.8)], minute: 47, homeWon: true, overtimes: 2, start: 0, swings: [] });
  expect([...minutes]).toEqual([47, 48, 50.8, 51.8, 58]); // with gaps after what is followed by nothing soon
  expect([[45.5, 46, 47], [46.5], [47, 50]].map((shown) => hasLastMinutes(shown.map((minute) => point(minute))))).toEqual([false, true, true]);
});

test("the market's course has its own times, and each line holds until its next value", () => {
  const market = [{ minute: 1.5, probability: 0.7 }, { minute: 2.5, probability: 0.3 }];
  const data = winData({ home: "BOS", away: "LAL", points: [point(1, 0.6), point(2, 0.4)], market, minute: 2, homeWon: undefined, overtimes: 0, start: 0, swings: [] });
  expect(data).toEqual([[1, 1.5, 2, 2.5], [0.6, 0.6, 0.5, null], [0.5, 0.5, 0.4, null], [0.6, 0.6, 0.4, null], [null, 0.7, 0.7, 0.3]]);
});

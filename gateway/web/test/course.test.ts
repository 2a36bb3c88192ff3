import { expect, test } from "vitest";
import { byMinute, changeOf, corrections, covers, held, inOrder, openness, played, standing, standingAt, withPoint } from "../src/model/course";
import { strings } from "../src/strings";
import { made, outcome, recorded } from "./made";

const point = (minute: number, probability: number) => ({ minute, lead: 0, probability, sequence: 0 });

test("of each minute the newest revision in time is shown", () => {
  const first = recorded({ minute: 12, sequence: 1 });
  const corrected = recorded({ minute: 12, sequence: 5, revision: 1 });
  const late = recorded({ minute: 12, sequence: 9, revision: 2, late: true });
  const next = recorded({ minute: 13, sequence: 7 });
  expect(byMinute([next, late, corrected, first], "final")).toEqual([corrected, next]);
  expect(byMinute([first], "half")).toEqual([]);
});

test("predictions that arrive twice or out of order are shown once and in the ledger's order", () => {
  const [a, b, c] = [3, 1, 2].map((sequence) => recorded({ sequence, minute: sequence }));
  expect(inOrder([a!, b!, c!, a!]).map((one) => one.forecast.sequence)).toEqual([1, 2, 3]);
});

test("a withdrawn outcome does not stand", () => {
  const reported = outcome({ sequence: 10 });
  const withdrawn = outcome({ sequence: 11, withdrawn: true });
  expect(standing([reported], "final")).toBe(reported);
  expect(standing([withdrawn, reported], "final")).toBeUndefined();
  expect(standing([reported], "half")).toBeUndefined();
});

test("an interval holds an outcome at its ends", () => {
  const forecast = made({ lower: -3, upper: 4 });
  expect([-4, -3, 4, 5].map((value) => covers(forecast, value))).toEqual([false, true, true, false]);
  expect(held([recorded({ lower: -3, upper: 4 }), recorded({ lower: 5, upper: 9 }), recorded({ lower: -3, upper: 4, isMoment: true })], outcome({ differential: 4 }))).toEqual({ held: 1, of: 2 });
  const exchanged = recorded({ home: "LAL", away: "BOS", lower: -3, upper: 4 });
  expect(held([exchanged, recorded({ lower: -3, upper: 4 })], outcome({ differential: 4 }))).toEqual({ held: 1, of: 1 });
});

test("a correction names the minute and both forecasts", () => {
  const before = recorded({ minute: 12, sequence: 1 });
  const after = recorded({ minute: 12, sequence: 2, revision: 1, lead: 4 });
  const other = recorded({ minute: 12, sequence: 3, horizon: "half" });
  expect(corrections([other, after, before])).toEqual([{ minute: 12, horizon: "final", from: before, to: after }]);
});

test("a game is most open at even chances", () => {
  expect([0, 0.25, 0.5, 0.75, 1].map(openness)).toEqual([0, 0.5, 1, 0.5, 0]);
});

test("a point of a known minute replaces it", () => {
  expect(withPoint([point(6, 0.5), point(8, 0.6)], point(7, 0.4)).map((one) => one.minute)).toEqual([6, 7, 8]);
  expect(withPoint([point(6, 0.5)], point(6, 0.9))).toEqual([point(6, 0.9)]);
});

test("a change of the win probability says since when, and is in percentage points", () => {
  expect(changeOf([point(17, 0.66), point(18, 0.72)])).toEqual({ percent: 6, since: 17 });
  expect(changeOf([point(12, 0.72), point(18, 0.66)])).toEqual({ percent: -6, since: 12 });
  expect(changeOf([point(18, 0.66)])).toBeUndefined();
  expect(strings.tonight.change("BOS", 6, strings.tonight.minuteBefore)).toBe("BOS win probability +6 percentage points since the minute before");
  expect(strings.tonight.change("BOS", 1, "minute 9")).toBe("BOS win probability +1 percentage point since minute 9");
});

test("a change between moments is that of at least a minute of play", () => {
  const course = [point(46, 0.5), point(47, 0.6), point(47.4, 0.3), point(47.9, 0.9), point(48.1, 0.4)];
  expect(changeOf(course)).toEqual({ percent: -20, since: 47 });
  expect(changeOf(course.slice(0, 4))).toEqual({ percent: 40, since: 46 });
  expect(changeOf(course.slice(1, 3))).toBeUndefined();
});

test("plays of one second are no corrections, and the last of them stands", () => {
  const foul = recorded({ minute: 47.2917, isMoment: true, sequence: 4, lead: 1 });
  const throws = recorded({ minute: 47.2917, isMoment: true, sequence: 5, revision: 1, lead: 2 });
  const minute = recorded({ minute: 47, sequence: 3 });
  expect(corrections([minute, foul, throws])).toEqual([]);
  expect(byMinute([throws, minute, foul], "final")).toEqual([minute, throws]);
});

test("at a moment of one horizon the other's forecast of the minute before stands, but none of a half that is over", () => {
  const end = [recorded({ minute: 22, sequence: 1 }), recorded({ minute: 24, sequence: 3 })];
  const half = [recorded({ horizon: "half", minute: 22.75, isMoment: true, sequence: 2 })];
  expect(standingAt(end, 22.75)).toBe(end[0]);
  expect(standingAt(half, 22.75)).toBe(half[0]);
  expect(standingAt(end, 23)).toBeUndefined();
  expect(standingAt(half, 22)).toBeUndefined();
  expect(standingAt([recorded({ horizon: "half", minute: 23.9, isMoment: true })], 24)).toBeUndefined();
});

test("the margins of moments come between those of the minutes, and after the last one", () => {
  const at = (minute: number, lead: number) => recorded({ minute, lead, isMoment: true });
  expect(played([2, 5], [at(1.5, 4), at(2, 9), at(2.25, 6), recorded({ minute: 2, lead: 7 })])).toEqual([
    { minute: 1, lead: 2 },
    { minute: 1.5, lead: 4 },
    { minute: 2, lead: 5 },
    { minute: 2.25, lead: 6 },
  ]);
});

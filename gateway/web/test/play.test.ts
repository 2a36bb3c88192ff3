import { expect, test } from "vitest";
import { lastMinutes, periods } from "../src/charts/axes";
import type { Palette } from "../src/charts/theme";
import { afterOrAt, endOf, gameClock, named, overtimesBy, timeCell, timeOfPlay } from "../src/model/play";
import { strings } from "../src/strings";

test("a time of play is shown as the clock of its period, and the end of a minute as its number", () => {
  const clocks = [[1, 688.9], [2, 0.4], [4, 42.5], [4, 42.53], [4, 0], [5, 300], [5, 130], [6, 3.07]] as const;
  expect(clocks.map(([period, left]) => gameClock(timeOfPlay(period, left)))).toEqual([
    "Q1 11:28.9", "Q2 0:00.4", "Q4 0:42.5", "Q4 0:42.5", "OT 5:00", "OT 5:00", "OT 2:10", "OT2 0:03",
  ]);
  expect([18, 47.2917].map(named)).toEqual(["minute 18", "Q4 0:42.5"]);
  expect([18, 47.2917].map(afterOrAt)).toEqual(["after minute 18", "at Q4 0:42.5"]);
  expect([18, 47.2917, 50].map(timeCell)).toEqual(["18", "Q4 0:42.5", "OT 3:00"]);
  expect([18, 50].map(strings.tonight.after)).toEqual(["after 18 min", "OT 3:00"]);
  expect(strings.game.then(47.2917, "21:04")).toBe("At Q4 0:42.5, as forecast at 21:04");
});

test("hundredths of a second have their own time of play", () => {
  const times = Array.from({ length: 6000 }, (_unused, place) => timeOfPlay(4, place / 100));
  expect(new Set(times).size).toBe(6000);
});

test("a tie at the end of a period has one more overtime", () => {
  expect([47.9, 48, 52.9, 53, 58].map(overtimesBy)).toEqual([0, 1, 1, 2, 3]);
  expect([0, 1, 2].map(endOf)).toEqual([48, 53, 58]);
});

test("an axis ends with the last overtime, and names of periods that do not fit are left out", () => {
  const marks = (width: number, overtimes: number, start?: number): string[] => {
    const colors = { unit: 1 } as Palette;
    const axis = start ? lastMinutes(colors, overtimes, start) : periods(colors, overtimes);
    const splits = (axis.splits as () => number[])();
    return (axis.values as (chart: { width: number }, splits: number[]) => string[])({ width }, splits);
  };
  const named = (width: number, overtimes: number) => marks(width, overtimes).filter((name) => name);
  expect(named(1300, 0)).toEqual(["Q1", "Q2", "Q3", "Q4"]);
  expect(named(1300, 2)).toEqual(["Q1", "Q2", "Q3", "Q4", "OT", "OT2"]);
  expect(named(340, 2)).toEqual(["Q1", "Q2", "Q3", "Q4"]);
  expect(marks(340, 0, 46)).toEqual(["2:00", "1:00", "end"]);
  expect(marks(1300, 1, 46)).toEqual(["2:00", "1:00", "0:00", "OT"]);
});

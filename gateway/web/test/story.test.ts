import { expect, test } from "vitest";
import { clockSpan } from "../src/model/play";
import { reading } from "../src/model/reading";
import { story, swings } from "../src/model/story";
import { made } from "./made";

const course = (...values: [minute: number, probability: number, lead?: number][]) => values.map(([minute, probability, lead = 0]) => ({ minute, lead, probability, sequence: 0 }));
const named = (points: ReturnType<typeof course>) => swings(points).map(({ from, to, percent }) => [from.minute, to.minute, percent]);

test("a swing is the largest change within six minutes of play, and no two overlap", () => {
  expect(named(course([1, 0.5], [4, 0.6], [7, 0.75], [8, 0.74], [20, 0.3], [21, 0.5]))).toEqual([[1, 7, 25], [20, 21, 20]]);
  expect(named(course([1, 0.9], [5, 0.4], [7, 0.4]))).toEqual([[1, 5, -50]]); // as short as it is large
  expect(named(course([1, 0.5], [9, 0.9]))).toEqual([]);
  expect(named(course([1, 0.5], [2, 0.59]))).toEqual([]);
});

test("a game's story is told of its winner", () => {
  const every = (from: number, to: number, probability: number, lead = 0) => course(...Array.from({ length: (to - from) / 2 }, (_, place): [number, number, number] => [from + 2 * place, probability, lead]));
  const points = [...every(2, 20, 0.4, -3), ...course([20, 0.2, -11]), ...every(22, 40, 0.5), ...course([40, 0.8, 5]), ...every(42, 48, 0.7, 2)];
  expect(story(points, points, 4)).toMatchObject({ homeWon: true, chance: 0.2, lowest: { minute: 20 }, behind: { minute: 20, lead: -11 } });
  expect(story(points, points, -4)).toMatchObject({ homeWon: false, chance: expect.closeTo(0.2), lowest: { minute: 40 }, behind: { lead: 5 } });
  expect(story(points, [], 4)?.behind).toBeUndefined();
  const end = [...every(2, 40, 0.96), ...course([40, 0.8], [46, 0.97], [47.5, 0.95])];
  expect([4, -4].map((differential) => story(end, end, differential)?.decided?.minute)).toEqual([46, undefined]);
  expect(story(every(2, 48, 0.97), [], 4)?.decided?.minute).toBe(2);
});

test("no story is told of a game that was not watched for more than six minutes", () => {
  const all = course(...Array.from({ length: 8 }, (_, place): [number, number] => [6 * place, 0.6]));
  expect(story(all, all, 4)).toBeDefined();
  for (const place of [1, 4, 7]) expect(story(all.filter((_, other) => other !== place), all, 4)).toBeUndefined();
  expect(story([], [], 4)).toBeUndefined();
});

test("a reading has time, lead, score where it is recorded, and probability", () => {
  const end = made({ minute: 18, lead: 6, probability: 0.3, pointsSoFar: 92 });
  const words = ["Q2 6:00", "BOS +6 · LAL 43, BOS 49", "LAL wins 70 %"];
  expect(reading(18, 6, [end], { home: "BOS", away: "LAL" })).toEqual(words);
  expect(reading(18.5, 8, [end], { home: "BOS", away: "LAL" }).slice(0, 2)).toEqual(["Q2 5:30", "BOS +8"]); // the score was another
  expect(reading(18, 7, [end], { home: "BOS", away: "LAL" })[1]).toBe("BOS +7"); // a lead that does not fit the points
});

test("the time of a swing names its period once", () => {
  expect([clockSpan(31.5, 33.5), clockSpan(35, 38)]).toEqual(["Q3 4:30–2:30", "Q3 1:00–Q4 10:00"]);
});

import { expect, test } from "vitest";
import { beware, calls } from "../src/state/record";
import { strings } from "../src/strings";

test.each([
  [{}, ""],
  [{ leftOut: {} }, ""],
  [{ doubtfulGames: 2, leftOut: { superseded: 3 } }, "Games doubtful: 2. Left out as corrected: 3."],
  [{ revisedLate: 2, leftOut: { laterSecond: 3, others: 7 } }, "Left out as late: 3. Left out as recorded by others: 7. Moments revised after a later play: 2."],
  [{ leftOut: { withdrawn: 4, lateTime: 1, observed: 2, gameDate: 3, lateMarkets: 9 } }, "Left out as withdrawn: 4. Left out as late: 6."],
])("a record says how many games are to be looked at, and what it leaves out", (card, words) => {
  expect(strings.record.doubts(...beware(card))).toBe(words);
});

test("the record begins with the largest group of games of which it named a side about as likely", () => {
  const bin = (fromProbability: number, games: number, rate: number) => ({ fromProbability, toProbability: fromProbability + 0.1, games, rate });
  expect(calls([bin(0.7, 20, 0.75), bin(0.2, 20, 0.3), bin(0.5, 90, 0.5), bin(0.9, 39, 1)])).toEqual({ tenths: 7, games: 40, won: 29 });
  expect(calls([bin(0.6, 3, 0.75), bin(0.9, 9, 1), bin(0, 1, 0)])).toEqual({ tenths: 9, games: 10, won: 10 });
  expect(calls([bin(0.5, 9, 0.5), bin(0.4, 9, 0.5)])).toBeUndefined();
});

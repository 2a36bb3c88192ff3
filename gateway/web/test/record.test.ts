import { expect, test } from "vitest";
import { beware } from "../src/state/record";
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

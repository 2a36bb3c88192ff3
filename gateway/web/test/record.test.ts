import { expect, test } from "vitest";
import { aboutSeventy, beware } from "../src/state/record";
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

test.each([
  [{ games: 30, reliability: [{ meanProbability: 0.68, rate: 0.75, forecasts: 30 }, { meanProbability: 0.31, rate: 0.4, forecasts: 10 }, { meanProbability: 0.8, rate: 1, forecasts: 99 }] }, { forecasts: 40, share: 0.7125 }],
  [{ games: 29, reliability: [{ meanProbability: 0.7, rate: 0.7, forecasts: 90 }] }, undefined],
  [{ games: 30, reliability: [{ meanProbability: 0.9, rate: 0.9, forecasts: 90 }] }, undefined],
])("what became of about 70 % counts for either team, and from thirty games on", (card, expected) => {
  expect(aboutSeventy(card)).toEqual(expected && { ...expected, share: expect.closeTo(expected.share, 9) });
});

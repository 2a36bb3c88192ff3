import { expect, test } from "vitest";
import { recorded as toRecorded } from "../src/api/convert";
import { difference, isOld } from "../src/model/market";
import { game, forget, takeBoardGame, takePriced } from "../src/state/games";
import { made } from "./made";

const ID = "9900000001";

/** A forecast of the end with the price of a winner, as the server answers it. */
function priced(minute: number, generated: string, recording = "MARKET_RECORDING_RECORDED") {
  const side = (winProbability: number, fairProbability: number) => ({ winProbability, fairProbability });
  return {
    forecast: { gameId: ID, horizon: "HORIZON_FINAL" as const, elapsedMinutes: minute, generatedTime: generated },
    markets: [
      {
        market: { line: 0, above: { american: -160 }, below: { decimal: 2.45 } },
        answer: {
          kind: "MARKET_KIND_LEAD" as const,
          above: side(0.664, 0.606),
          below: side(0.336, 0.394),
          overround: 0.0235,
          warnings: [{ reason: "WARNING_REASON_LATE_MOMENT" as const, text: "late" }],
          recording: recording as "MARKET_RECORDING_RECORDED",
          notice: "not shown to be better than the market",
        },
      },
    ],
  };
}

test("a price is shown as it was printed, with the probabilities of the server, and none from after the end", () => {
  const [quote] = toRecorded(priced(30, "2026-11-30T01:00:00Z")).quotes;
  expect(quote).toMatchObject({
    kind: "lead",
    above: { price: "−160", market: 0.606, model: 0.664 },
    below: { price: "2.45", market: 0.394, model: 0.336 },
    margin: 0.0235,
    doubtful: true,
  });
  expect(toRecorded(priced(30, "2026-11-30T01:00:00Z", "MARKET_RECORDING_OUTCOME_KNOWN")).quotes).toEqual([]);
});

test("a line is the market's only where the ratings did not make it", () => {
  const line = (marginSource: "MARGIN_SOURCE_FILE" | "MARGIN_SOURCE_RATINGS") => toRecorded({ forecast: { expectedMargin: 5.5, marginSource } }).forecast.line;
  expect(line("MARGIN_SOURCE_FILE")).toMatchObject({ margin: 5.5 });
  expect(line("MARGIN_SOURCE_RATINGS")).toBeUndefined();
});

test.each([
  [0.664, 0.606, 0, "+5"], // 66 − 61, as they stand beside it
  [0.606, 0.664, 1, "−5.8"],
  [0.5, 0.5, 0, "0"],
])("the difference of model %d and market %d is that of the shown numbers", (model, market, digits, shown) => {
  expect(difference({ model, market }, digits)).toBe(shown);
});

test.each([
  [10, 30, false],
  [121, 30, true], // by the clock
  [10, 31.1, true], // by the game
])("a price of minute 30 that is %d s old beside a forecast of minute %d: old is %s", (seconds, minute, old) => {
  const at = made({ minute: 30 });
  expect(isOld(at, made({ minute }), at.generated + 1000 * seconds)).toBe(old);
});

test("the newest price stands, whether it came with the board or in the stream", () => {
  forget();
  takePriced(priced(31, "2026-11-30T01:10:00Z"));
  const board = { gameId: ID, homeTeam: "BOS", awayTeam: "LAL", newest: {}, outcomes: [] };
  takeBoardGame({ ...board, priced: priced(30, "2026-11-30T01:08:00Z") });
  expect(game(ID)?.priced?.forecast.minute).toBe(31);
  takePriced(priced(3, "2026-11-30T02:00:00Z")); // of the record after a restore
  expect(game(ID)?.priced?.forecast.minute).toBe(3);
});

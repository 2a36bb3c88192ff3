import { expect, test } from "vitest";
import { forecast } from "../src/api/convert";

test("how well the ratings know both teams is said in the server's words, if they were asked", () => {
  const text = "BOS: June 2023 and 2 finals, hardly known";
  const known = { homeKnown: { text }, awayKnown: { text: "LAL: 20 finals, well known" } };
  expect(forecast({ ...known, marginSource: "MARGIN_SOURCE_RATINGS" }).known).toEqual([text, "LAL: 20 finals, well known"]);
  expect(forecast({ ...known, marginSource: "MARGIN_SOURCE_FILE" }).known).toEqual([]);
  expect(forecast({}).known).toEqual([]);
});

test("of an expected margin it is known what is by who has played, which is not known before tip-off", () => {
  expect(forecast({ expectedMargin: 11.5, expectedMarginTerms: { missingPlayers: 7.5 } }).whoPlays).toBe(7.5);
  expect(forecast({ expectedMargin: 4.5 }).whoPlays).toBe(0);
});

import { expect, test } from "vitest";
import { forecast, recorded } from "../src/api/convert";

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

test("a forecast of a moment has the moment's time and lead, not those of its pattern", () => {
  const json = { elapsedMinutes: 47, moment: { period: 5, secondsLeft: 130.5, differential: -2 } };
  expect(forecast(json)).toMatchObject({ minute: 50.825, isMoment: true, lead: -2 });
  expect(recorded({ forecast: json, pattern: [1, 3] }).forecast).toMatchObject({ minute: 50.825, lead: -2 });
  expect(recorded({ forecast: { elapsedMinutes: 2 }, pattern: [1, 3] }).forecast).toMatchObject({ minute: 2, isMoment: false, lead: 3 });
  expect(forecast({ moment: { period: 4, secondsLeft: 0 } })).toMatchObject({ minute: 48, lead: 0 });
});

import { expect, test } from "vitest";
import { forecast } from "../src/api/convert";

test("how well the ratings know both teams is said in the server's words, if they were asked", () => {
  const text = "BOS: June 2023 and 2 finals, hardly known";
  const known = { homeKnown: { text }, awayKnown: { text: "LAL: 20 finals, well known" } };
  expect(forecast({ ...known, marginSource: "MARGIN_SOURCE_RATINGS" }).known).toEqual([text, "LAL: 20 finals, well known"]);
  expect(forecast({ ...known, marginSource: "MARGIN_SOURCE_FILE" }).known).toEqual([]);
  expect(forecast({}).known).toEqual([]);
});

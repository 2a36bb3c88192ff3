import { expect, test } from "vitest";
import { askedFor, fits, lineOf, priceOf } from "../src/model/whatIf";

const asked = (search: string) => {
  const parameters = new URLSearchParams(search);
  return askedFor((name) => parameters.get(name) ?? undefined);
};

test("an address asks for a course, teams, horizon, level and points", () => {
  expect(asked("pattern=0,2,-1.5&home=BOS&away=LAL&horizon=half&alpha=0.2&points=96&line=-5.5&date=2024-01-15&homePrice=1.5&awayPrice=0.9")).toEqual({
    pattern: [0, 2, -1.5], home: "BOS", away: "LAL", horizon: "half", alpha: "0.2", points: "96", line: "-5.5", date: "2024-01-15", homePrice: "1.5", awayPrice: "",
  });
});

test("what an address says wrongly is as usual", () => {
  const usual = { pattern: undefined, home: "", away: "", horizon: "final", alpha: "0.05", points: "", line: "", date: "", homePrice: "", awayPrice: "" };
  for (const search of ["", "line=36&date=tonight", "line=1e1", "pattern=a,b&home=XYZ&away=bos&horizon=end&alpha=0.3&points=-3", "points=1e3", "pattern=&alpha=toString", "pattern=9999"])
    expect(asked(search)).toEqual(usual);
  expect(asked(`pattern=${Array(60).fill(1).join()}`).pattern).toHaveLength(47);
});

test.each([
  ["31", 7, true], ["31", -7, true], ["30", 0, true], ["8", 8, true], ["500", 2, true],
  ["31", 8, false], ["6", 8, false], ["502", 2, false], ["31", 1.5, false], ["", 0, false], ["x", 0, false], ["-3", 1, false],
])("points of both %s fit a lead of %d: %s", (points, lead, expected) => expect(fits(points, lead)).toBe(expected));

test.each([
  ["BOS −5.5", 5.5], ["bos-5,5", 5.5], ["BOS +5.5", -5.5], ["LAL-5.5", -5.5], ["−5,5", 5.5], ["5.5", -5.5], ["+35", -35], ["0", 0],
  ["35.5", undefined], ["", undefined], ["-", undefined], ["x", undefined], ["NYK-5", undefined], ["home-5", undefined], ["BOS", undefined],
])("of BOS, with LAL away, the line %s means a lead of %s", (text, expected) => expect(lineOf(text, "BOS", "LAL")).toBe(expected));

test("without teams a line is of home or away", () => expect([lineOf("home -5.5", "", ""), lineOf("Away-5.5", "", "")]).toEqual([5.5, -5.5]));

test.each([["1.91", { decimal: 1.91 }], ["−110", { american: -110 }], ["150", { american: 150 }], ["3", { decimal: 3 }], ["1", undefined], ["-50", undefined], ["x", undefined]])("the price %s is %o", (text, expected) => expect(priceOf(text)).toEqual(expected));

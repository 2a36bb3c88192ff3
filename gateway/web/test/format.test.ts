import { expect, test } from "vitest";
import { expected, fixed, gameDay, lead, percent, signed, span } from "../src/model/format";

test("a lead names the team that is ahead", () => {
  expect(lead(7.26, "BOS", "LAL")).toBe("BOS +7.3");
  expect(lead(-7.26, "BOS", "LAL")).toBe("LAL +7.3");
  expect(lead(0.04, "BOS", "LAL")).toBe("even");
  expect(lead(-3, "BOS", "LAL", 0)).toBe("LAL +3");
});

test("an expected margin names the favorite without a sign, as books print lines with the other one", () => {
  expect(expected(5.5, "DEN", "LAL")).toBe("DEN by 5.5");
  expect(expected(-5.5, "DEN", "LAL")).toBe("LAL by 5.5");
  expect(expected(0, "DEN", "LAL")).toBe("even");
});

test("numbers have a true minus sign, and zero has no sign", () => {
  expect(fixed(-4.25, 2)).toBe("−4.25");
  expect(fixed(-0.01, 1)).toBe("0.0");
  expect(signed(0.01)).toBe("0.0");
  expect(signed(1.25, 2)).toBe("+1.25");
  expect(fixed(Number.NaN)).toBe("–");
});

test("what is not certain is never shown as 0 or 100 %", () => {
  expect(percent(0.744)).toBe("74 %");
  expect(percent(0.998)).toBe(">99 %");
  expect(percent(0.002)).toBe("<1 %");
  expect(percent(0.9999, 1)).toBe(">99.9 %");
  expect(percent(1)).toBe("100 %");
  expect(percent(0)).toBe("0 %");
});

test("ages are given in the largest unit that fits", () => {
  expect([900, 61_000, 7_300_000, 200_000_000].map(span)).toEqual(["1 s", "1 min", "2 h", "2 d"]);
  expect(span(-5000)).toBe("0 s");
});

test("a game that ends after midnight belongs to the evening before", () => {
  expect(gameDay(Date.parse("2024-10-23T10:59:00Z"))).toBe("2024-10-22");
  expect(gameDay(Date.parse("2024-10-23T11:00:00Z"))).toBe("2024-10-23");
});

import { expect, test } from "vitest";
import { parse, withValue, write } from "../src/model/pattern";

test("a typed course may use spaces, commas and true minus signs", () => {
  expect(parse(" 0, 2 −3; -1\n4.5 ")).toEqual({ pattern: [0, 2, -3, -1, 4.5] });
  expect(parse("")).toEqual({ pattern: [] });
  expect(parse(write([1, -2, 3]))).toEqual({ pattern: [1, -2, 3] });
});

test("a word that is no lead is named by its place", () => {
  for (const word of ["x", "1e3", "201", "--1", "Infinity", "0x10"]) expect(parse(`1 ${word} 3`)).toEqual({ problem: { index: 1, text: word } });
});

test("minutes that a drawing skips are filled in a straight line", () => {
  expect(withValue([0, 2], 5, 8)).toEqual([0, 2, 4, 6, 8]);
  expect(withValue([0, 2, 9], 2, 3.4)).toEqual([0, 3, 9]);
  expect(withValue([], 1, 999)).toEqual([60]);
});

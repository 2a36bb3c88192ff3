import { expect, test } from "vitest";
import { figures } from "../src/model/exposition";
import { parse, withValue, write } from "../src/model/pattern";
import { brierBesideLeader, reliability, wilson } from "../src/model/reliability";
import { recorded } from "./made";

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

test("Wilson's interval of 8 in 10 is [0.490, 0.943]", () => {
  const [low, high] = wilson(0.8, 10);
  expect(low).toBeCloseTo(0.4902, 4);
  expect(high).toBeCloseTo(0.9433, 4);
  expect(wilson(1, 5)[1]).toBe(1);
  expect(wilson(0, 5)[0]).toBe(0);
});

test("a bin counts a game once, however often it was forecast", () => {
  const predictions = [
    recorded({ gameId: "1", probability: 0.71 }, 5),
    recorded({ gameId: "1", probability: 0.79 }, 5),
    recorded({ gameId: "2", probability: 0.75 }, -5),
    recorded({ gameId: "3", probability: 1 }, 5),
    recorded({ gameId: "4", probability: 0.5 }),
  ];
  const bins = reliability(predictions);
  expect(bins.map((bin) => [bin.from, bin.forecasts, bin.games])).toEqual([[0.7, 3, 2], [0.9, 1, 1]]);
  expect(bins[0]?.mean).toBeCloseTo(0.75, 9);
  expect(bins[0]?.rate).toBeCloseTo(2 / 3, 9);
  expect([bins[0]?.lower, bins[0]?.upper]).toEqual(wilson(2 / 3, 2));
});

test("the Brier scores stand on the same forecasts, each game with the same weight", () => {
  const found = brierBesideLeader([
    recorded({ gameId: "1", probability: 0.8, lead: 3 }, 5),
    recorded({ gameId: "1", probability: 0.6, lead: 0 }, 5),
    recorded({ gameId: "2", probability: 0.9, lead: 3 }, -1),
  ]);
  expect(found?.games).toBe(2);
  expect(found?.model).toBeCloseTo(((0.04 + 0.16) / 2 + 0.81) / 2, 9);
  expect(found?.leader).toBeCloseTo(((0 + 0.25) / 2 + 1) / 2, 9);
  expect(brierBesideLeader([])).toBeUndefined();
});

test("of the gateway's metrics the page shows counts, and means of latencies", () => {
  const text = `# HELP x y
dejavu_dashboard_browsers{transport="sse"} 3.0
dejavu_dashboard_caught_up_total 0.0
dejavu_dashboard_request_seconds_bucket{endpoint="/api/games",le="0.1"} 4.0
dejavu_dashboard_request_seconds_count{endpoint="/api/games"} 4.0
dejavu_dashboard_request_seconds_sum{endpoint="/api/games"} 0.02
python_info{version="3"} 1.0`;
  expect(figures(text)).toEqual([["browsers · sse", "3"], ["request · /api/games", "5 ms (n = 4)"]]);
});

import { describe, expect, it } from "vitest";
import { betName, sums } from "../src/model/bets";
import { statedErrors } from "../src/model/models";

const OF_LEAD = { homeTeam: "BOS", awayTeam: "LAL", kind: "MARKET_KIND_LEAD" } as const;

describe("a bet of the record", () => {
  it.each([
    ["MARKET_SIDE_HOME", 5.5, "final", "BOS −5.5"],
    ["MARKET_SIDE_AWAY", 5.5, "final", "LAL +5.5"],
    ["MARKET_SIDE_HOME", -3, "final", "BOS +3"],
    ["MARKET_SIDE_AWAY", 0, "final", "LAL wins"],
    ["MARKET_SIDE_HOME", 0, "half", "BOS leads at the half"],
    ["MARKET_SIDE_OVER", 221.5, "final", "more than 221.5 points"],
    ["MARKET_SIDE_UNDER", 110, "half", "fewer than 110 points"],
  ] as const)("on %s at a line of %d of the %s is %s", (side, line, horizon, name) => {
    expect(betName({ ...OF_LEAD, side, line }, horizon)).toBe(name);
  });

  it("without teams names the side", () => {
    expect(betName({ side: "MARKET_SIDE_AWAY", line: 2 }, "final")).toBe("Away +2");
  });
});

it("bets are summed by the profit and by the stake at the next price, if there was one", () => {
  const bets = [{ stake: 0.02, profit: -0.02, closingLineValue: 0.5 }, { stake: 0.01, profit: 0.009 }, { stake: 0.01, profit: 0, closingLineValue: -1 }];
  expect(sums(bets).map(({ profit, closing }) => [profit, closing].map((one) => Number(one.toFixed(6))))).toEqual([
    [-0.02, 0.01],
    [-0.011, 0.01],
    [-0.011, 0],
  ]);
});

it("the stated errors stand beside persistence, and other metrics are left out", () => {
  const prefix = "unseen.final.minute_18";
  const metrics = [
    { name: `${prefix}.linear.mae`, value: 8.792, lower: 8.681, upper: 8.904 },
    { name: `${prefix}.persistence.mae`, value: 9.517, lower: 9.398, upper: 9.635 },
    { name: `${prefix}.linear.mae_over_persistence`, value: 0.9239 },
    { name: "calibration.expected_margin.line.mae", value: 10.24 },
  ];
  expect(statedErrors(metrics)).toEqual([["end, after minute 18", "8.79 [8.68, 8.90]", "9.52 [9.40, 9.63]", "0.924"]]);
});

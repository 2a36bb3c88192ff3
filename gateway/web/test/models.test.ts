import { expect, test } from "vitest";
import { evidenceData } from "../src/charts/evidenceChart";
import { changeRows, difference, evalue, hasStore, modelRows, pairs, verdict } from "../src/model/models";

const champion = { version: "aaaaaaaa11111111", stage: "MODEL_STAGE_SERVING", aliases: ["champion"], verdict: "VERDICT_FIT" } as const;
const challenger = { version: "bbbbbbbb22222222", stage: "MODEL_STAGE_STAGED", aliases: ["challenger"] } as const;
const older = { version: "cccccccc33333333", stage: "MODEL_STAGE_STAGED", aliases: [] as string[] } as const;
const previous = { version: "dddddddd44444444", stage: "MODEL_STAGE_STAGED", aliases: ["previous"] } as const;
const models = [champion, older, challenger, previous].map((model) => ({ ...model, aliases: [...model.aliases] }));

test("each challenger is compared with the champion, the newest first, then the champion with what it has to beat", () => {
  expect(pairs(models).map(({ model, against }) => [model[0], against[0]])).toEqual([
    ["b", "a"],
    ["c", "a"],
    ["a", "d"],
    ["a", "p"],
  ]);
  expect(pairs(models)[0]).toMatchObject({ name: "challenger bbbbbbbb", other: "champion aaaaaaaa" });
  expect(pairs([])).toEqual([]);
});

test("a server without a store has models without a stage", () => {
  expect(hasStore(models)).toBe(true);
  expect(hasStore([{ version: "a" }, { version: "b", stage: "MODEL_STAGE_UNSPECIFIED" }])).toBe(false);
});

test("models are named by stage and role", () => {
  expect(modelRows(models)[0]?.slice(1, 4)).toEqual(["answers", "champion", "passed"]);
  expect(modelRows([{ version: "x" }])[0]).toEqual(["x", "–", "–", "–", "–"]);
});

test("e-values are short whatever their size", () => {
  expect([0, 0.004, 0.01, 1, 24.5, 1e9, Number.POSITIVE_INFINITY].map(evalue)).toEqual(["0", "4.0·10^-3", "0.01", "1.00", "24.50", "1.0·10^9", "∞"]);
});

const score = (notWorseEValue: number, worseEValue: number) => ({ notWorseEValue, worseEValue });

test("a statement about two models needs an e-value of 20: of both scores to be no worse, of one to be worse", () => {
  const said = (crps: object, brier: object) => verdict({ crps, brier }, "one", "other", false);
  expect(said(score(20, 0.1), score(19.9, 0.1))).toContain("No evidence yet");
  expect(said(score(20, 0.1), score(20, 0.1))).toBe("It is shown that one is no worse than other.");
  expect(said(score(0.1, 20), score(20, 0.1))).toBe("It is shown that one is worse than other.");
  expect(verdict({}, "one", "other", false)).toContain("No evidence yet");
  expect(verdict({ decision: "GATE_DECISION_CONTINUE", crps: score(99, 0) }, "one", "other", true)).toContain("waits");
});

test("a difference has its interval where there is one", () => {
  expect(difference({ difference: -0.0114, lower: -0.02, upper: -0.002 }, 3)).toBe("−0.011 [−0.020, −0.002]");
  expect(difference({ difference: 0.2 }, 3)).toBe("+0.200");
});

test("a change says what was done to which model, by whom, why and on what evidence", () => {
  const evidence = { againstVersion: "aaaa", games: 135, crpsEValue: 24.5, brierEValue: "Infinity", crpsDifference: -0.011, brierDifference: 0.0002 } as const;
  const [first, second] = changeRows([
    { action: "MODEL_ACTION_PROMOTE", modelVersion: "bbbb", fromVersion: "aaaa", forced: true, changedBy: "token:trainer", reason: "better", changedTime: "2026-11-21T20:00:00Z", evidence },
    { action: "MODEL_ACTION_RETIRE", modelVersion: "cccc" },
  ]);
  expect(first?.slice(1)).toEqual(["promoted by force", "bbbb instead of aaaa", "token:trainer", "better; 135 games against aaaa: CRPS −0.011 (E 24.50), Brier +0.0002 (E ∞)"]);
  expect(second).toEqual(["–", "retired", "cccc", "–", "–"]);
});

test("the chart holds e-values of any size", () => {
  const [games, threshold, notWorse, worse] = evidenceData([{ games: 7, notWorse: Number.POSITIVE_INFINITY, worse: 0 }]);
  expect([games, threshold, notWorse, worse].map((series) => series?.[0])).toEqual([7, Math.log10(20), 6, -3]);
});

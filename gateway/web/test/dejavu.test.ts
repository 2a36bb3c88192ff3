import { expect, test } from "vitest";
import { courseOf, leadAt, seenBefore, storyBeside, storyOf, together } from "../src/model/dejavu";
import type { SimilarGame } from "../src/model/types";
import { made } from "./made";

const game: SimilarGame = { home: "ATL", away: "CLE", date: "2022-03-31", mirrored: false, lead: 6, atHorizon: -4, score: [49, 43], final: [98, 102], course: [] };
/** The same game in the mirror: CLE, the away team, has the part of the home team. */
const mirrored: SimilarGame = { ...game, mirrored: true, lead: -6, atHorizon: 4 };

test.each<[string, SimilarGame, "half" | "final", string]>([
  ["the side that led lost", game, "final", "ATL led by 6 (49–43) and lost by 4 (98–102)"],
  ["its mirror image is told with the same teams and scores", mirrored, "final", "ATL led by 6 (49–43) and lost by 4 (98–102)"],
  ["the side that led won", { ...game, atHorizon: 9, final: [109, 100] }, "final", "ATL led by 6 (49–43) and won by 9 (109–100)"],
  ["the away side led", { ...game, lead: -6, score: [43, 49], atHorizon: -4 }, "final", "CLE led by 6 (49–43) and won by 4 (102–98)"],
  ["a level game is told of who won", { ...game, lead: 0, score: [45, 45] }, "final", "it was level (45–45) and CLE won by 4 (102–98)"],
  ["scores that are not known are left out", { ...game, score: undefined, final: undefined }, "final", "ATL led by 6 and lost by 4"],
  ["up to the half", game, "half", "ATL led by 6 (49–43) and was behind by 4 at the half"],
  ["level at the half", { ...game, atHorizon: 0 }, "half", "ATL led by 6 (49–43) and was level at the half"],
])("%s", (_name, past, horizon, story) => expect(storyOf(past, horizon)).toBe(story));

test("a past game stands beside this one: as here, or with the lead here", () => {
  expect(storyBeside(game, made({ lead: 6 }))).toBe("ATL led by 6, as BOS did here, and lost by 4");
  expect(storyBeside(game, made({ lead: 5 }))).toBe("ATL led by 6 (here BOS led by 5) and lost by 4");
});

test("one sentence names the nearest game; there is none without similar games", () => {
  expect(seenBefore(made({ lead: 6, similar: [game] }), 18)).toMatch(/^Seen before: CLE at ATL, .*2022.*\. After minute 18 ATL led by 6, as BOS did here, and lost by 4\.$/);
  expect([seenBefore(made(), 18), seenBefore(undefined, 18), seenBefore(made({ lead: 6, similar: [game] }), 48)]).toEqual([undefined, undefined, undefined]);
});

test("all similar games together: their mean and the correction sum to what Dejavu says", () => {
  const summary = { minute: 18, games: 3076, sameLead: 50, homeLed: 38, turned: 12, correction: -0.5 };
  const components = [{ name: "dejavu", points: 7, weight: 0.25 }];
  expect(together(made({ summary, components }), "BOS", "LAL")).toEqual([
    "Of the 50 similar games with this lead LAL's side, which was behind, won 12, and BOS's side 38.",
    "Similar games, 25 % of this forecast, say BOS +7 at the end: their mean is BOS +7.5, and LAL +0.5 is for home advantage and what else differs here.",
  ]);
  expect(together(made({ summary, components, lead: 0 }), "BOS", "LAL")[0]).toBe("Of the 50 similar games with this lead BOS's side won 38, and LAL's side 12.");
  expect(together(made({ summary, components, horizon: "half" }), "BOS", "LAL")[0]).toBe("Of the 50 similar games with this lead LAL's side, which was behind, led in 12 at the half.");
  expect(together(made({ summary: { ...summary, sameLead: 0 }, components }), "BOS", "LAL")[0]).toBe("None of the 3,076 similar games had a lead like this one.");
  expect(together(made({ summary, components: [] }), "BOS", "LAL")[1]).toContain("not made of them");
  expect(together(made(), "BOS", "LAL")).toEqual([]);
});

test("a course goes from tip-off to the horizon, straight where it is not known, and has a lead at every time between", () => {
  expect(courseOf({ ...game, course: [1, 4, -2] }, 2, "half")).toEqual([0, 1, 4, -2].map((lead, minute) => ({ minute, lead })).concat({ minute: 24, lead: -4 }));
  const straight = courseOf(game, 18, "final");
  expect(straight).toEqual([{ minute: 18, lead: 6 }, { minute: 48, lead: -4 }]);
  expect([17, 18, 33, 48, 49].map((minute) => leadAt(straight, minute))).toEqual([undefined, 6, 1, -4, undefined]);
});

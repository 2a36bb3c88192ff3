import { expect, test } from "vitest";
import { forecast, recorded } from "../src/api/convert";
import { strings } from "../src/strings";

test("how well the ratings know both teams is said, if they were asked", () => {
  const known = {
    homeTeam: "BOS", homeKnown: { deviation: 3.61, finals: 2, earlierDate: "2023-06-12" },
    awayTeam: "LAL", awayKnown: { deviation: 2.4, finals: 20 },
  };
  const said = forecast({ ...known, marginSource: "MARGIN_SOURCE_RATINGS" }).known.map(strings.game.known);
  expect(said).toEqual(["BOS: June 2023 and 2 finals, hardly known", "LAL: 20 finals, well known"]);
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

test("a similar game has its own scores, and a forecast says what it is made of and what moved it", () => {
  const named = { gameDate: "2021-03-14", homeTeam: "BKN", awayTeam: "BOS" };
  const scores = { homePoints: 0, awayPoints: 2, finalHomePoints: 104, finalAwayPoints: 109 };
  const one = forecast({
    explanation: {
      similarGames: [{ ...named, ...scores, differential: -2, differentialAtHorizon: -5, course: [-2, 1] }, { ...named, mirrored: true }],
      similarSummary: { minute: 18, games: 3214, sameLead: 1204, homeLed: 855, turned: 349, correction: -0.75 },
      components: [{ name: "lstm", prediction: 3.5, weight: 0.25 }],
      contributions: [{ name: "ratings", points: -1.5 }],
      attribution: { beforeTipoff: 1, components: 0.5 },
    },
  });
  const plain = { home: "BKN", away: "BOS", date: named.gameDate };
  expect(one.similar).toEqual([
    { ...plain, mirrored: false, lead: -2, atHorizon: -5, score: [0, 2], final: [104, 109], course: [-2, 1] },
    { ...plain, mirrored: true, lead: 0, atHorizon: 0, score: undefined, final: undefined, course: [] },
  ]);
  expect(one.summary).toEqual({ minute: 18, games: 3214, sameLead: 1204, homeLed: 855, turned: 349, correction: -0.75 });
  expect(one.components).toEqual([{ name: "lstm", points: 3.5, weight: 0.25 }]);
  expect(one.contributions).toEqual([{ name: "ratings", points: -1.5 }]);
  expect(one.attribution).toEqual({ beforeTipoff: 1, minutes: [], components: 0.5 });
});

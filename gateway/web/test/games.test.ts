import { expect, test } from "vitest";
import { forget, game, games, latest, outcomeOf, takeBoardGame, takeEvent, takeShown, withForecast } from "../src/state/games";
import { made } from "./made";

const ID = "9900000001";
const forecast = (minute: number, sequence: number, extra: object = {}) => ({
  forecast: {
    gameId: ID,
    homeTeam: "BOS",
    awayTeam: "LAL",
    horizon: "HORIZON_FINAL" as const,
    elapsedMinutes: minute,
    homeLeadProbability: minute / 100,
    sequence: `${sequence}`,
    explanation: { baselinePrediction: minute },
    ...extra,
  },
});

test("an old event that arrives late does not replace a newer one", () => {
  takeEvent(forecast(12, 5));
  takeEvent(forecast(11, 4));
  takeEvent(forecast(12, 3, { homeLeadProbability: 0.9 }));
  expect(latest(game(ID)!)?.minute).toBe(12);
  expect(game(ID)!.course.map((point) => [point.minute, point.probability])).toEqual([[11, 0.11], [12, 0.12]]);
});

test("a corrected minute replaces its first forecast", () => {
  takeEvent(forecast(12, 9, { homeLeadProbability: 0.4, revision: 1 }));
  expect(latest(game(ID)!)?.probability).toBe(0.4);
  expect(game(ID)!.course.at(-1)?.probability).toBe(0.4);
});

test("a board that was made before the newest event takes nothing back", () => {
  takeBoardGame({
    gameId: ID,
    homeTeam: "BOS",
    awayTeam: "LAL",
    newest: { final: forecast(11, 4), half: null },
    outcomes: [],
    course: [{ elapsedMinutes: 10, lead: 1, homeLeadProbability: 0.5 }, { elapsedMinutes: 12, lead: 1, homeLeadProbability: 0.99 }],
  });
  expect(latest(game(ID)!)?.minute).toBe(12);
  expect(game(ID)!.course.map((point) => point.probability)).toEqual([0.5, 0.11, 0.4]);
});

test("an outcome counts until it is withdrawn", () => {
  const outcome = { gameId: ID, horizon: "HORIZON_FINAL" as const, differential: 3 };
  takeEvent({ outcome: { ...outcome, sequence: "20" } });
  expect(outcomeOf(game(ID)!, "final")?.differential).toBe(3);
  takeEvent({ outcome: { ...outcome, sequence: "21", withdrawn: true } });
  expect(outcomeOf(game(ID)!, "final")).toBeUndefined();
});

test("the newest forecast that names similar games is kept beside newer ones that name none", () => {
  const seen = { explanation: { baselinePrediction: 3, similarGames: [{ homeTeam: "ATL", awayTeam: "CLE" }] } };
  const next = (extra: object, sequence: number) => ({ gameId: "9900000009", newest: {}, outcomes: [], homeTeam: "BOS", awayTeam: "LAL", seen: { ...forecast(20, sequence).forecast, ...seen, gameId: "9900000009", ...extra } });
  takeBoardGame(next({}, 30));
  takeEvent(forecast(21, 31, { gameId: "9900000009" }));
  takeEvent(forecast(20, 29, { gameId: "9900000009", horizon: "HORIZON_HALFTIME", ...seen }));
  expect([game("9900000009")!.seen?.minute, game("9900000009")!.seen?.horizon]).toEqual([20, "final"]);
  expect(withForecast(game("9900000009")!, made({ minute: 22, late: true, similar: game("9900000009")!.seen!.similar })).seen?.minute).toBe(20);
});

test("nothing of a record that was replaced is left, and its followers see the games of the other one", () => {
  forget();
  expect(games()).toEqual([]);
  expect(latest(game(ID)!)).toBeUndefined();
  takeEvent(forecast(3, 2));
  expect(games().map((one) => one.id)).toEqual([ID]);
  expect(latest(game(ID)!)?.minute).toBe(3);
});

test("a late forecast is shown where there is no other, until there is one", () => {
  forget();
  const [late, next] = [made({ minute: 30, sequence: 9, late: true }), made({ minute: 12, sequence: 10 })];
  takeEvent({ forecast: { gameId: ID } });
  const alone = withForecast({ ...game(ID)!, newest: {}, course: [] }, late);
  expect(alone.newest.final).toEqual(late);
  expect(alone.course).toEqual([]);
  expect(withForecast(alone, next).newest.final).toEqual(next);
  const known = withForecast(game(ID)!, next);
  expect(withForecast(known, late)).toEqual(known);
});

test("a moment is newer than its minute and stands beside it, in the stream and on a board", () => {
  forget();
  const moment = { moment: { period: 5, secondsLeft: 130.5, differential: -2 }, explanation: undefined };
  takeEvent(forecast(47, 5));
  takeEvent(forecast(47, 6, { ...moment, homeLeadProbability: 0.35 }));
  const points = () => game(ID)!.course.map((one) => [one.minute, one.lead, one.probability]);
  expect(latest(game(ID)!)).toMatchObject({ minute: 50.825, lead: -2 });
  expect(points()).toEqual([[47, 47, 0.47], [50.825, -2, 0.35]]);
  takeEvent(forecast(47, 7, { revision: 1, homeLeadProbability: 0.5 }));
  expect(latest(game(ID)!)?.minute).toBe(50.825);
  forget();
  const course = [{ elapsedMinutes: 47, lead: 3, homeLeadProbability: 0.6 }, { elapsedMinutes: 50.825, lead: -2, homeLeadProbability: 0.35 }];
  const newest = { ...forecast(47, 6, { ...moment, homeLeadProbability: 0.35 }), pattern: [1, 3] };
  takeBoardGame({ gameId: ID, homeTeam: "BOS", awayTeam: "LAL", newest: { final: newest, half: null }, outcomes: [], course });
  expect(latest(game(ID)!)?.lead).toBe(-2);
  expect(points()).toEqual([[47, 3, 0.6], [50.825, -2, 0.35]]);
});

test("a state of other teams than the forecasts of its game is not shown beside them", () => {
  const other = "9900000077";
  const state = { gameId: other, homeTeam: "DEN", awayTeam: "HOU", status: "GAME_STATUS_LIVE" as const, observedTime: "2026-01-01T00:00:00Z" };
  takeShown(state);
  expect(game(other)?.shown?.home).toBe("DEN");
  takeEvent(forecast(12, 5, { gameId: other }));
  expect([game(other)?.home, game(other)?.shown]).toEqual(["BOS", undefined]);
  takeShown({ ...state, observedTime: "2026-01-01T00:01:00Z" });
  expect(game(other)?.shown).toBeUndefined();
  takeShown({ ...state, homeTeam: "BOS", awayTeam: "LAL", observedTime: "2026-01-01T00:02:00Z" });
  expect(game(other)?.shown?.home).toBe("BOS");
});

import { expect, test } from "vitest";
import { shown } from "../src/api/convert";
import { clockOf } from "../src/model/shown";
import { forget, game, takeShown, takeEvent } from "../src/state/games";
import type { Shown } from "../src/model/types";

const ID = "9900000002";
const at = (period: number, left: number | undefined, text = ""): string => clockOf({ period, left, text } as Shown);

test("a clock names the period, and a break by what has ended", () => {
  expect([at(1, 720), at(2, 720), at(2, 360), at(4, 42.5), at(4, 0), at(5, 300), at(5, 61), at(6, 0)]).toEqual([
    "Q1 12:00", "Q2 12:00", "Q2 6:00", "Q4 0:42.5", "End Q4", "OT 5:00", "OT 1:01", "End OT2",
  ]);
  expect([at(1, 0), at(2, 0), at(3, undefined), at(0, undefined, "7:30 pm ET")]).toEqual(["End Q1", "Half", "Q3", "7:30 pm ET"]);
});

test("what the feed shows is taken in the order in which it was read, whatever came first", () => {
  const state = (seconds: number, homeScore: number) => ({
    gameId: ID,
    homeTeam: "BOS",
    awayTeam: "LAL",
    status: "GAME_STATUS_LIVE" as const,
    homeScore,
    period: 1,
    secondsLeft: 500,
    observedTime: new Date(1e12 + 1000 * seconds).toISOString(),
  });
  takeShown(state(10, 7));
  takeShown(state(5, 4));
  expect(game(ID)?.shown).toMatchObject({ homeScore: 7, awayScore: 0, status: "live", home: "BOS" });
  takeEvent({ forecast: { gameId: ID, horizon: "HORIZON_FINAL", elapsedMinutes: 6, sequence: "1" } });
  expect(game(ID)).toMatchObject({ home: "BOS", away: "LAL", shown: { homeScore: 7 } });
  forget();
  expect(game(ID)?.shown).toBeUndefined();
});

test("what is not known stays unknown", () => {
  const scheduled = shown({ gameId: ID, status: "GAME_STATUS_SCHEDULED" });
  expect(scheduled).toMatchObject({ status: "scheduled", left: undefined, margin: undefined, total: undefined });
  expect(scheduled.tipOff).toBeNaN();
});

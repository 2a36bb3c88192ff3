import { expect, test } from "vitest";
import { link } from "../src/model/link";
import { isOfEvening, phase, silentPart, unforecast, watchedOf, type Phase } from "../src/model/phase";
import type { Shown } from "../src/model/types";
import { strings } from "../src/strings";
import { made } from "./made";

const MADE = Date.parse("2024-10-23T01:00:00Z");

/** The phase of a forecast after a minute of play, so many seconds after it was made; it expires after 300. */
function at(minute: number, seconds: number, over = false, expiresAfter = 300): Phase {
  return phase(made({ minute, generated: MADE, expires: MADE + 1000 * expiresAfter }), over, MADE + 1000 * seconds);
}

test("the forecast after the last minute is grey within a minute, and none stands in the last minute and overtime", () => {
  expect([0, 59, 61, 299, 301, 3600].map((seconds) => at(47, seconds))).toEqual(["live", "live", "last", "last", "beyond", "beyond"]);
  expect(at(47, 301, true)).toBe("over");
  expect(at(47, 700, false, 86_400)).toBe("beyond"); // whatever a server lets count as current
});

test("a game without an outcome is not in overtime for ever", () => {
  expect(at(47, 7201)).toBe("unreported");
  expect(at(20, 7201)).toBe("unreported");
  expect((["live", "last", "stale", "halftime", "over", "beyond", "ended", "postponed", "unreported"] as const).filter(unforecast)).toEqual(["beyond", "ended", "postponed", "unreported"]);
});

test("a forecast that the score of the feed has left behind is stale", () => {
  const forecast = made({ minute: 36, generated: MADE, expires: MADE + 300_000 });
  const at_ = (period: number, left: number | undefined) => phase(forecast, false, MADE + 4000, { status: "live", period, left } as Shown);
  expect([at_(4, 700), at_(4, 631), at_(4, 629), at_(4, undefined)]).toEqual(["live", "live", "stale", "live"]);
});

test("near the end a forecast of another lead than the feed's is stale after half a minute", () => {
  const forecast = made({ minute: 46.52, isMoment: true, lead: 2, generated: MADE, expires: MADE + 300_000 });
  const at_ = (homeScore: number, seconds: number) =>
    phase(forecast, false, MADE + 1000 * seconds, { status: "live", period: 4, left: 1, homeScore, awayScore: 105 } as Shown);
  expect([at_(107, 31), at_(101, 29), at_(101, 31)]).toEqual(["live", "live", "stale"]);
});

test("a forecast of before a shot at the buzzer does not stand beside a final score", () => {
  const forecast = made({ minute: 47.95, isMoment: true, generated: MADE, expires: MADE + 300_000 });
  const with_ = (status: Shown["status"]) => phase(forecast, false, MADE + 4000, { status } as Shown);
  expect([with_("live"), with_("final"), with_("postponed")]).toEqual(["live", "ended", "postponed"]);
  expect(phase(forecast, true, MADE + 4000, { status: "final" } as Shown)).toBe("over");
});

test("before the last minute a forecast counts as current until it expires, and longer at the half", () => {
  expect([at(46, 299), at(46, 301), at(24, 301), at(24, 1201)]).toEqual(["live", "stale", "halftime", "stale"]);
});

test("the badge says live only if the server behind the gateway is well", () => {
  expect(link("open", "OK")).toBe("live");
  expect(link("open", undefined)).toBe("connecting");
  for (const reason of ["SERVER_GONE", "STREAM_BROKEN", "LEDGER_BROKEN", "TOKEN_REJECTED", "ANOTHER"]) expect(link("open", reason)).toBe("broken");
  expect(link("lost", "OK")).toBe("lost");
});

test("a final says that it came after overtime", () => {
  expect([undefined, 0, 1, 2].map((overtimes) => strings.age.final(overtimes))).toEqual(["final", "final", "final, OT", "final, 2 OT"]);
});

test("a forecast of the last minute or of overtime counts as current until it expires, and then is stale", () => {
  const moment = (minute: number, seconds: number, over = false): Phase =>
    phase(made({ minute, isMoment: true, generated: MADE, expires: MADE + 300_000 }), over, MADE + 1000 * seconds);
  for (const minute of [47, 47.7, 48, 51.2]) {
    expect([0, 299, 301, 7201].map((seconds) => moment(minute, seconds))).toEqual(["live", "live", "stale", "unreported"]);
    expect(moment(minute, 10, true)).toBe("over");
  }
  expect(moment(23.9, 600)).toBe("halftime");
});

test.each([
  [[["live", 10, 5]], undefined],
  [[["live", 61, 61]], "poller"],
  [[["live", 70, 61], ["live", 61, 3]], "feed"],
  [[["live", 300, 5]], "feed"],
  [[["live", 300, 5], ["live", 5, 5]], undefined],
  [[["live", 700, 700], ["final", 20, 20]], undefined],
  [[["live", 700, 5], ["scheduled", 20, 20]], undefined],
  [[["final", 600, 600], ["scheduled", 600, 600]], undefined],
  [[["live", 7300, 7300]], undefined],
  [[], undefined],
] as const)("the part that is silent is named: %j", (games, part) => {
  const states = games.map(([status, observed, published]) => ({ status, observed: -1000 * observed, published: -1000 * published }) as Shown);
  expect(silentPart(states, 0)?.part).toBe(part);
});

test("a game that its feed left is stale by itself, also while its last forecast has not expired", () => {
  const forecast = made({ minute: 20, generated: MADE, expires: MADE + 300_000 });
  const at_ = (read: number, seconds: number) =>
    phase(forecast, false, MADE + 1000 * seconds, { status: "live", period: 2, left: 230, observed: MADE + 1000 * read } as Shown);
  expect([at_(0, 59), at_(0, 61), at_(100, 110), at_(100, 161)]).toEqual(["live", "stale", "live", "stale"]);
});

test.each([
  ["9912670814", "2024-01-15", undefined, true],
  ["9912670814", "2023-12-23", undefined, false],
  ["9912670814", undefined, "2026-11-30T23:00:00Z", true],
  ["9912670814", undefined, "2026-11-30T23:00:00Z", false, 400],
  ["0022600001", undefined, "2026-11-30T23:00:00Z", false],
  ["0022600001", undefined, "2024-01-16T02:00:00Z", true],
  ["0022600001", undefined, "", false],
  ["0022600001", "2024-01-15", "2026-11-30T23:00:00Z", true],
])("a game belongs to the evening of its forecasts, else of its tip-off, and a replay that begins to any: %s, %s, %s", (id, day, tipOff, isOf, played = 700) => {
  const shown = tipOff === undefined ? undefined : ({ status: "live", period: 1, left: played, tipOff: Date.parse(tipOff) } as Shown);
  expect(isOfEvening("2024-01-15", id, day === undefined ? undefined : made({ day }), shown)).toBe(isOf);
});

test("a replay neither hides nor causes the silence of the NBA's games", () => {
  const of = (...ids: string[]) => watchedOf(ids.map((id) => ({ id }))).map((game) => game.id);
  expect(of("9924100077", "0022600001")).toEqual(["0022600001"]);
  expect(of("9924100077")).toEqual(["9924100077"]);
});

/** What an address of the what-if page asks for, so that it can be sent to others. */
import type { OddsJson } from "../gen/dejavu/v1/market_pb";
import { parse } from "./pattern";
import { strings } from "../strings";
import { TEAMS } from "./teams";
import { MINUTE_OF, type Horizon } from "./types";

/** Miscoverage rates, by the level that people know. */
export const ALPHAS = { "0.5": "50 %", "0.2": "80 %", "0.1": "90 %", "0.05": "95 %" } as const;
export type Alpha = keyof typeof ALPHAS;

/** Points of both teams together; "" if they are not known. */
export const POINTS = /^[1-9][0-9]{0,2}$/;

/** A price as sportsbooks print it: American if it is whole, and at least 100 or below 0; else decimal. */
export function priceOf(text: string): OddsJson | undefined {
  const value = numberIn(text);
  if (Number.isInteger(value) && Math.abs(value) >= 100) return { american: value };
  return value > 1 && value <= 1000 ? { decimal: value } : undefined;
}

function numberIn(text: string): number {
  return /^[-+−]?\d{1,5}([.,]\d{1,3})?$/.test(text) ? Number(text.replace("−", "-").replace(",", ".")) : Number.NaN;
}

/**
 * The lead expected before tip-off, home − away, of a line as books print it: "BOS −5.5", or "−5.5" of the home team.
 * Undefined where a text is none that servers accept.
 */
export function lineOf(text: string, home: string, away: string): number | undefined {
  const [, team = "", spread = ""] = /^([a-z]*) ?(.*)$/i.exec(text) ?? [];
  const side = ["", home || strings.homeName, away || strings.awayName].findIndex((name) => name.toUpperCase() === team.toUpperCase());
  const value = numberIn(spread);
  return side >= 0 && Math.abs(value) <= 35 ? (side === 2 ? value : 0 - value) : undefined;
}

/** Whether two teams can have so many points together with such a lead; servers refuse others. */
export function fits(points: string, lead: number): boolean {
  const sum = Number(points);
  return POINTS.test(points) && sum <= 500 && sum >= Math.abs(lead) && (sum - lead) % 2 === 0;
}

/** What an address asks for; what it does not say, or says wrongly, is as usual. */
export function askedFor(query: (name: string) => string | undefined) {
  const parsed = parse(query("pattern") ?? "");
  const team = (name: string) => TEAMS.find((code) => code === query(name)) ?? "";
  const alpha = query("alpha") ?? "";
  const points = query("points") ?? "";
  const line = query("line") ?? "";
  const date = query("date") ?? "";
  const price = (name: string) => (priceOf(query(name) ?? "") ? (query(name) as string) : "");
  return {
    pattern: "pattern" in parsed && parsed.pattern.length ? parsed.pattern.slice(0, MINUTE_OF.final - 1) : undefined,
    home: team("home"),
    away: team("away"),
    horizon: (query("horizon") === "half" ? "half" : "final") as Horizon,
    points: POINTS.test(points) ? points : "",
    line: lineOf(line, team("home"), team("away")) === undefined ? "" : line,
    date: /^\d{4}-\d\d-\d\d$/.test(date) ? date : "",
    homePrice: price("homePrice"),
    awayPrice: price("awayPrice"),
    alpha: (Object.hasOwn(ALPHAS, alpha) ? alpha : "0.05") as Alpha,
  };
}

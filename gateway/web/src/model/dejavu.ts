/** Past games that went like this one, in words and as courses. */
import { strings } from "../strings";
import { calendarDay, lead, percent } from "./format";
import { REGULATION } from "./play";
import { MINUTE_OF, type Forecast, type Horizon, type Played, type Score, type SimilarGame } from "./types";

const said = strings.dejavu;
const TIP_OFF: Played = { minute: 0, lead: 0 };

/** "CLE at ATL, 31 March 2022". */
export function nameOf(game: SimilarGame): string {
  return said.name(game.away, game.home, calendarDay(game.date));
}

/** The teams of a past game in the parts of this one's home and away team. */
export function partsOf(game: SimilarGame): { home: string; away: string } {
  return game.mirrored ? { home: game.away, away: game.home } : game;
}

/** How a past game stood after the compared minute, and how it went on: "CLE led by 6 (49–43) and lost by 4 (98–102)". */
export function storyOf(game: SimilarGame, horizon: Horizon): string {
  return told(game, horizon, "", game);
}

/** The same without scores beside the lead that a forecast's game had then, which may be another by now: "CLE led by 6, as BOS did here, and lost by 4". */
export function storyBeside(game: SimilarGame, forecast: Forecast): string {
  const here = forecast.lead ?? game.lead;
  const side = here > 0 ? forecast.home || strings.homeName : forecast.away || strings.awayName;
  return told(game, forecast.horizon, (here === game.lead ? said.asHere : said.here)(side, Math.abs(here)), {});
}

/** Tells it of the side that led then, or of the one that led at the horizon if it was level. */
function told(game: SimilarGame, horizon: Horizon, like: string, scores: Partial<Pick<SimilarGame, "score" | "final">>): string {
  const side = Math.sign(game.lead) || Math.sign(game.atHorizon) || 1;
  const parts = partsOf(game);
  const team = side > 0 ? parts.home : parts.away;
  const score = (of: Score | undefined) => (of ? ` (${(side > 0) === game.mirrored ? `${of[1]}–${of[0]}` : `${of[0]}–${of[1]}`})` : "");
  const then = `${game.lead ? said.led(team, Math.abs(game.lead)) : said.level}${score(scores.score)}`;
  const ended = said.ended[horizon](side * game.atHorizon);
  return said.story(then, like, `${game.lead ? "" : `${team} `}${ended}${horizon === "final" ? score(scores.final) : ""}`);
}

/** One sentence on the most similar game of a forecast, for a game that has come to a minute; undefined without one, and in overtime. */
export function seenBefore(forecast: Forecast | undefined, minute: number): string | undefined {
  const game = minute < REGULATION && forecast?.similar[0];
  return game ? said.seen(nameOf(game), said.afterMinute(forecast.minute, storyBeside(game, forecast))) : undefined;
}

/** What all similar games say together, and what Dejavu makes of them; empty without a summary. */
export function together(forecast: Forecast, home: string, away: string): string[] {
  const { summary, horizon } = forecast;
  if (!summary) return [];
  const dejavu = forecast.components.find((each) => each.name === "dejavu");
  const name = (points: number) => lead(points, home, away);
  // Of the numbers as they are shown, so that they sum.
  const shown = (points: number) => Math.round(10 * points) / 10;
  const [says, mean] = dejavu ? [shown(dejavu.points), shown(dejavu.points - summary.correction)] : [0, 0];
  const part = !dejavu?.weight
    ? said.noPart
    : summary.sameLead
      ? said.forecast(percent(dejavu.weight), strings.horizon[horizon] ?? "", name(says), name(mean), name(shown(says - mean)), forecast.expectedMargin !== undefined)
      : said.changes;
  if (!summary.sameLead) return [said.noneAlike(summary), part];
  const sides = [home, away].map(said.side) as [string, string];
  const [behind, ahead] = (forecast.lead ?? 0) > 0 ? sides.reverse() : sides;
  const first = forecast.lead ? said.behind(behind ?? "") : (behind ?? "");
  const led = forecast.lead ? summary.turned : summary.homeLed;
  const number = (games: number) => games.toLocaleString("en");
  return [said.counts[horizon](number(summary.sameLead), first, number(led), ahead ?? "", number(summary.sameLead - led)), part];
}

/** The course of a past game from tip-off to the horizon; if it is not known, a straight line from the compared minute on. */
export function courseOf(game: SimilarGame, minute: number, horizon: Horizon): Played[] {
  const known = game.course.length ? [TIP_OFF, ...game.course.map((points, index) => ({ minute: index + 1, lead: points }))] : [{ minute, lead: game.lead }];
  return [...known, { minute: MINUTE_OF[horizon], lead: game.atHorizon }];
}

/** The lead at a time of play, linear between the known ones; undefined outside of them. */
export function leadAt(course: readonly Played[], minute: number): number | undefined {
  const after = course.findIndex((one) => one.minute >= minute);
  const [before, next] = [course[after - 1], course[after]];
  if (!next) return undefined;
  if (!before || next.minute === minute) return next.minute === minute ? next.lead : undefined;
  return before.lead + ((minute - before.minute) / (next.minute - before.minute)) * (next.lead - before.lead);
}

/** What the feed shows of a game: score and clock, or tip-off and line. */
import { Show } from "solid-js";
import { clock, day, expected, gameDay, span } from "../model/format";
import { clockOf } from "../model/shown";
import type { Shown } from "../model/types";
import { now } from "../state/clock";
import { strings } from "../strings";

const said = strings.shown;

/** A live game whose state is older than this is shown with its age. */
export const OLD_MS = 60_000;

/** The status of a game: "Q2 6:00", "Final", "19:30", with the age of an old state unless that is left out. */
export function nowText(shown: Shown, withAge = true): string {
  switch (shown.status) {
    case "postponed":
      return strings.age.states.postponed;
    case "final":
      return strings.age.final(Math.max(0, shown.period - 4));
    case "scheduled":
      return tipOff(shown.tipOff);
    case "live": {
      const age = now() - shown.observed;
      return clockOf(shown) + (withAge && age > OLD_MS ? ` · ${said.old(span(age))}` : "");
    }
  }
}

/** The time of day of a tip-off in the viewer's zone, with its day unless that is today. */
function tipOff(instant: number): string {
  if (Number.isNaN(instant)) return said.scheduled;
  return gameDay(instant) === gameDay(now()) ? said.tipOff(clock(instant)) : said.tipOff(`${day(gameDay(instant))}, ${clock(instant)}`);
}

/** The line of a game before its tip-off: "BOS by 5.5 · 221.5 points"; "" without one. */
export function lineText(shown: Pick<Shown, "home" | "away" | "margin" | "total">): string {
  const margin = shown.margin === undefined ? [] : [expected(shown.margin, shown.home, shown.away)];
  const total = shown.total === undefined ? [] : [said.total(shown.total)];
  return [...margin, ...total].join(" · ");
}

/** Score and clock of a game that has begun. */
export function Score(props: { shown: Shown }) {
  const begun = () => props.shown.status === "live" || props.shown.status === "final";
  return (
    <p class="score" data-status={props.shown.status}>
      <Show when={begun()}>
        <strong class="score-points">
          <span class="visually-hidden">{props.shown.away} </span>
          {props.shown.awayScore}–
          <span class="visually-hidden">{props.shown.home} </span>
          {props.shown.homeScore}
        </strong>{" "}
      </Show>
      <span class="score-clock">{nowText(props.shown)}</span>
    </p>
  );
}

/** One game for viewers: score and clock, who wins, the likely margin, the game seen before. Its place decides how they are arranged. */
import { For, Show } from "solid-js";
import { lead, percent } from "../model/format";
import { margins, type Part } from "../model/overlay";
import { teamName, teamStyle } from "../model/teams";
import { createAir, type Air } from "../state/air";
import { game } from "../state/games";
import { strings } from "../strings";
import { nowText } from "./ShownGame";

const said = strings.onAir;
const SIDES = ["away", "home"] as const;

export function AirGame(props: { air: Air; parts: readonly Part[]; seen?: string | undefined }) {
  const air = () => props.air;
  const scores = () => {
    const shown = air().shown;
    return shown && (shown.status === "live" || shown.status === "final") ? { away: shown.awayScore, home: shown.homeScore } : undefined;
  };
  const lost = (side: "away" | "home") => {
    const end = air().final ?? (air().shown?.status === "final" && scores() ? (scores()?.home ?? 0) - (scores()?.away ?? 0) : 0);
    return side === "home" ? end < 0 : end > 0;
  };
  const clock = () => {
    const { shown, final, minute, home, away } = air();
    // Viewers know tenths of a second from the last minute only.
    if (shown) return nowText(shown, false).replace(/([1-9]\d?:\d\d)\.\d$/, "$1");
    return `${lead(final ?? air().lead, home, away, 0)} · ${final === undefined ? strings.tonight.after(minute) : strings.age.final(undefined)}`;
  };
  const chance = (side: "away" | "home") => Math.abs((air().forecast?.probability ?? 0.5) - (side === "home" ? 0 : 1));
  return (
    <div class="air teams" data-old={air().old} style={teamStyle(air().home, air().away)}>
      <p class="air-sides">
        <For each={SIDES}>
          {(side) => (
            <span class="air-side" data-of={side} data-lost={lost(side)}>
              <span class="air-code">{air()[side]}</span> <span class="air-name">{teamName(air()[side])}</span> <b>{scores()?.[side]}</b>
            </span>
          )}
        </For>
      </p>
      <p class="air-clock">{clock()}</p>
      <Show when={props.parts.includes("chance") && air().forecast}>
        <p class="air-chance">
          <Share side="away" code={air().away} chance={chance("away")} />
          <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect class="side-away" width={100 * chance("away")} height={4} />
            <rect class="side-home" x={100 * chance("away")} width={100 * chance("home")} height={4} />
            <rect class="air-gap" x={100 * chance("away") - 0.5} width={1} height={4} />
          </svg>
          <Share side="home" code={air().home} chance={chance("home")} />
        </p>
      </Show>
      <Show when={props.parts.includes("end") && air().forecast}>
        {(one) => (
          <p class="air-line">
            <span>
              {said.likely}
              <span class="air-wide">{said.margin}</span>:
            </span> {margins(one(), air().home, air().away) ?? said.tooClose}
          </p>
        )}
      </Show>
      <Show when={props.parts.includes("dejavu") && air().forecast && props.seen}>{(sentence) => <p class="air-line air-seen">{sentence()}</p>}</Show>
    </div>
  );
}

/** A game as the stream tells it; nothing until something is known of it. */
export function AirOf(props: { id: string; parts: readonly Part[] }) {
  const air = createAir(() => game(props.id));
  return <Show when={air()}>{(one) => <AirGame air={one()} parts={props.parts} />}</Show>;
}

function Share(props: { side: "away" | "home"; code: string; chance: number }) {
  return (
    <span class="air-share" data-side={props.side} data-likely={Math.round(100 * props.chance) > 50}>
      {props.code} {percent(props.chance)}
    </span>
  );
}

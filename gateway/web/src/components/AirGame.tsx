/** One game for viewers: score and clock, who wins, the likely margin, the game seen before. Its place decides how they are arranged. */
import { For, Show } from "solid-js";
import { seenBefore } from "../model/dejavu";
import { lead } from "../model/format";
import { margins, type Part } from "../model/overlay";
import { teamName, teamStyle } from "../model/teams";
import { createAir, type Air } from "../state/air";
import { game } from "../state/games";
import { strings } from "../strings";
import { nowText } from "./ShownGame";
import { SIDES, WinBar } from "./WinBar";

const said = strings.onAir;

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
      <Show when={props.parts.includes("chance") && air().forecast}>{(one) => <WinBar teams={air()} probability={one().probability} />}</Show>
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
  return <Show when={air()}>{(one) => <AirGame air={one()} parts={props.parts} seen={seenBefore(game(props.id)?.seen, one().minute)} />}</Show>;
}

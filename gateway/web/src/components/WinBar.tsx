/** Who wins, as the two shares of a bar. */
import { For } from "solid-js";
import { percent } from "../model/format";
import type { Teams } from "../model/types";
import { strings } from "../strings";

export const SIDES = ["away", "home"] as const;

export function WinBar(props: { teams: Teams; probability: number; phase?: string }) {
  const chance = (side: keyof Teams) => (side === "home" ? props.probability : 1 - props.probability);
  return (
    <p class="winbar" data-phase={props.phase}>
      <For each={SIDES}>
        {(side) => (
          // By the numbers as they are printed: of 50 % and 50 % neither is likelier.
          <span data-side={side} data-likely={Math.round(100 * chance(side)) > 50}>
            {strings.tonight.wins(props.teams[side])} {percent(chance(side))}
          </span>
        )}
      </For>
      <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="side-away" width={100 * chance("away")} height={4} />
        <rect class="side-home" x={100 * chance("away")} width={100 * chance("home")} height={4} />
        <line class="winbar-gap" x1={100 * chance("away")} x2={100 * chance("away")} y2={4} />
      </svg>
    </p>
  );
}

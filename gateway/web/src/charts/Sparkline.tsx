/** The win probability so far, small: above the middle line the home team is the likelier winner. */
import { For, Show } from "solid-js";
import { endOf, HOLDS, isGap, REGULATION } from "../model/play";
import type { CoursePoint } from "../model/types";

const HEIGHT = 20;

/** Steps from forecast to forecast: each holds until the next one, if that is soon. */
function path(points: readonly CoursePoint[]): string {
  const y = (point: CoursePoint) => ((1 - point.probability) * HEIGHT).toFixed(2);
  return points
    .map((point, place) => {
      const before = points[place - 1];
      if (!before) return `M${point.minute} ${y(point)}`;
      return isGap(before.minute, point.minute) ? `H${before.minute + HOLDS}M${point.minute} ${y(point)}` : `H${point.minute}V${y(point)}`;
    })
    .join("");
}

export function Sparkline(props: { points: readonly CoursePoint[]; overtimes: number; label: string }) {
  const last = () => props.points.at(-1);
  const end = () => endOf(props.overtimes);
  const periods = () => [12, 24, 36, ...(props.overtimes ? [REGULATION] : [])];
  return (
    <svg class="sparkline" viewBox={`0 -1 ${end()} ${HEIGHT + 2}`} preserveAspectRatio="none" role="img" aria-label={props.label}>
      <For each={periods()}>{(minute) => <line class="sparkline-quarter" x1={minute} x2={minute} y1={0} y2={HEIGHT} />}</For>
      <line class="sparkline-even" x1={0} x2={end()} y1={HEIGHT / 2} y2={HEIGHT / 2} />
      <Show when={last()}>
        {(point) => (
          <>
            <path class="sparkline-line" d={path(props.points)} />
            <line class="sparkline-now" x1={point().minute} x2={point().minute} y1={0} y2={HEIGHT} />
          </>
        )}
      </Show>
    </svg>
  );
}

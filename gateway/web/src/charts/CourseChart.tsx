/** Courses of the lead from tip-off: this game strong, past games thin, the chosen one marked; pointing at one names it. */
import { createMemo, createSignal, For, Show } from "solid-js";
import { leadAt } from "../model/dejavu";
import { yRange } from "../model/fan";
import { lead } from "../model/format";
import { gameClock } from "../model/play";
import type { Played } from "../model/types";
import { strings } from "../strings";
import { createWidth } from "./theme";

/** A past game: its course up to the horizon, seen from this game's sides, and the teams on them. */
export interface PastCourse {
  name: string;
  points: readonly Played[];
  home: string;
  away: string;
}

interface Props {
  /** Description in a sentence, for people who cannot see it. */
  label: string;
  played: readonly Played[];
  past: readonly PastCourse[];
  chosen: number;
  onChoose: (place: number) => void;
  /** Time of play up to which this game and the chosen one are drawn, while it is played through. */
  until: number | undefined;
  /** Minute of the horizon. */
  end: number;
  home: string;
  away: string;
}

const ROOM = { left: 4, right: 14, top: 18, bottom: 22 };
/** Distance in pixels within which a course is pointed at. */
const NEAR = 40;
const STEPS = [5, 10, 20, 50, 100];

export function CourseChart(props: Props) {
  let place!: HTMLDivElement;
  const measured = createWidth(() => place);
  const width = () => Math.max(200, measured() || 640);
  const [pointed, setPointed] = createSignal<{ place: number; minute: number }>();
  const height = () => Math.round(Math.max(200, Math.min(340, 0.42 * width())));
  const range = createMemo(() => yRange([...props.played, ...props.past.flatMap((one) => one.points)].map((one) => one.lead)));
  const x = (minute: number) => ROOM.left + (minute / props.end) * (width() - ROOM.left - ROOM.right);
  const y = (points: number) => {
    const [low, high] = range();
    return ROOM.top + ((high - points) / (high - low)) * (height() - ROOM.top - ROOM.bottom);
  };
  const line = (points: readonly Played[]) => points.map((one, index) => `${index ? "L" : "M"}${x(one.minute).toFixed(1)} ${y(one.lead).toFixed(1)}`).join("");
  const cut = (points: readonly Played[]) => {
    const until = props.until;
    if (until === undefined) return points;
    const at = leadAt(points, until);
    return [...points.filter((one) => one.minute < until), ...(at === undefined ? [] : [{ minute: until, lead: at }])];
  };
  const grid = () => {
    const [low, high] = range();
    const step = STEPS.find((each) => high - low <= 5 * each) ?? 200;
    return Array.from({ length: Math.floor(high / step) - Math.ceil(low / step) + 1 }, (_unused, index) => (Math.ceil(low / step) + index) * step);
  };
  const quarters = () => [12, 24, 36, 48].filter((minute) => minute <= props.end);
  const own = () => [{ minute: 0, lead: 0 }, ...props.played];
  const now = () => own().at(-1) as Played;
  const marked = () => pointed()?.place ?? props.chosen;
  /** Time of play that the readout is of: where the pointer is, how far it has been played through, or the end. */
  const time = () => pointed()?.minute ?? props.until ?? props.end;
  const readout = () => {
    const past = props.past[marked()];
    const points = past && leadAt(past.points, time());
    if (!past || points === undefined) return "";
    const here = time() <= now().minute ? leadAt(own(), time()) : undefined;
    const when = time() === props.end ? (strings.atHorizon[props.end === 24 ? "half" : "final"] ?? "") : gameClock(Math.round(60 * time()) / 60);
    return `${past.name} · ${strings.dejavu.readout(when, lead(Math.round(points), past.home, past.away), here === undefined ? "" : lead(Math.round(here), props.home, props.away))}`;
  };
  const find = (event: PointerEvent) => {
    const box = place.getBoundingClientRect();
    const minute = Math.max(0, Math.min(props.end, ((event.clientX - box.left - ROOM.left) / (width() - ROOM.left - ROOM.right)) * props.end));
    const distances = props.past.map((one) => Math.abs(y(leadAt(one.points, minute) ?? Number.POSITIVE_INFINITY) - (event.clientY - box.top)));
    const nearest = distances.indexOf(Math.min(...distances));
    setPointed((distances[nearest] ?? Number.POSITIVE_INFINITY) <= NEAR ? { place: nearest, minute } : undefined);
  };
  return (
    <>
      <p class="sub readout" aria-hidden="true">
        {readout()}
      </p>
      <div
        ref={place}
        class="courses"
        role="img"
        aria-label={props.label}
        onPointerMove={find}
        onPointerLeave={() => setPointed(undefined)}
        onClick={() => {
          const found = pointed();
          if (found) props.onChoose(found.place);
        }}
      >
        <svg viewBox={`0 0 ${width()} ${height()}`} width={width()} height={height()} aria-hidden="true">
          <For each={quarters()}>
            {(minute) => (
              <>
                <line class="courses-grid" x1={x(minute)} x2={x(minute)} y1={ROOM.top} y2={height() - ROOM.bottom} />
                <text class="courses-axis" x={x(minute - 6)} y={height() - 6} text-anchor="middle">
                  Q{minute / 12}
                </text>
              </>
            )}
          </For>
          <For each={grid()}>
            {(points) => (
              <line class={points ? "courses-grid" : "courses-even"} x1={ROOM.left} x2={x(props.end)} y1={y(points)} y2={y(points)} />
            )}
          </For>
          <For each={props.past}>
            {(one, index) => (
              <Show when={index() !== marked()}>
                <path class="course" d={line(one.points)} />
                <circle class="course-end" cx={x(props.end)} cy={y(one.points.at(-1)?.lead ?? 0)} r={2.5} />
              </Show>
            )}
          </For>
          <line class="courses-now" x1={x(now().minute)} x2={x(now().minute)} y1={ROOM.top} y2={height() - ROOM.bottom} />
          <Show when={props.past[marked()]}>
            {(one) => (
              <>
                <path class="course" data-chosen d={line(cut(one().points))} />
                <circle class="course-end" data-chosen cx={x(time())} cy={y(leadAt(one().points, time()) ?? 0)} r={4.5} />
              </>
            )}
          </Show>
          <For each={grid()}>
            {(points) => (
              <text class="courses-axis" x={ROOM.left} y={y(points) - 3}>
                {lead(points, props.home, props.away, 0)}
              </text>
            )}
          </For>
          <path class="course" data-own d={line(cut(own()))} />
          <Show when={props.until === undefined || props.until >= now().minute}>
            <circle class="course-end" data-own cx={x(now().minute)} cy={y(now().lead)} r={5} />
          </Show>
        </svg>
      </div>
    </>
  );
}

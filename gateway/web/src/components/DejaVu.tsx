/** Déjà vu: the past games that went like this one, how each went on, and what all of them say together. */
import { createEffect, createMemo, createSignal, For, on, onCleanup, Show } from "solid-js";
import { CourseChart } from "../charts/CourseChart";
import { courseOf, nameOf, partsOf, storyBeside, storyOf, together } from "../model/dejavu";
import { lead } from "../model/format";
import { MINUTE_OF, type Forecast, type Played } from "../model/types";
import { strings } from "../strings";

const said = strings.dejavu;
/** How long a game is played through, and what of it is shown where motion is not wanted: all. */
const PLAYED_MS = 6000;

interface Props {
  title: string;
  /** A forecast with similar games. */
  forecast: Forecast;
  played: readonly Played[];
  /** Whether the game has gone on into overtime, for which past games are not compared. */
  overtime?: boolean;
  home: string;
  away: string;
}

export function DejaVu(props: Props) {
  const games = () => props.forecast.similar;
  const end = () => MINUTE_OF[props.forecast.horizon];
  const [place, setPlace] = createSignal(0);
  const chosen = () => games()[place()] ?? games()[0];
  const [until, setUntil] = createSignal<number>();
  let frame = 0;
  const stop = () => {
    cancelAnimationFrame(frame);
    setUntil(undefined);
  };
  const play = (next: number) => {
    stop();
    setPlace(next);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const begun = performance.now();
    const step = (now: number) => {
      const minute = ((now - begun) / PLAYED_MS) * end();
      if (minute >= end()) return stop();
      setUntil(Math.max(0, minute));
      frame = requestAnimationFrame(step);
    };
    frame = requestAnimationFrame(step);
  };
  onCleanup(stop);
  // Other games stand in the list after another minute; the same ones come again with every event.
  const listed = createMemo(() => `${props.forecast.horizon} ${props.forecast.minute} ${games().map(nameOf).join()}`);
  createEffect(on(listed, () => (stop(), setPlace(0)), { defer: true }));
  const past = () =>
    games().map((game) => ({ name: nameOf(game), points: courseOf(game, props.forecast.minute, props.forecast.horizon), ...partsOf(game) }));
  const label = () => said.chartLabel(lead(props.forecast.lead ?? 0, props.home, props.away, 0), games().map(nameOf).join("; "));
  return (
    <section class="card dejavu">
      <h2>{props.title}</h2>
      <Show when={props.overtime}>{<p>{said.overtime(props.forecast.minute)}</p>}</Show>
      <Show when={chosen()}>
        {(game) => (
          <p class="dejavu-story">
            <strong>{nameOf(game())}.</strong> {said.afterMinute(props.forecast.minute, storyBeside(game(), props.forecast))}
          </p>
        )}
      </Show>
      <For each={together(props.forecast, props.home, props.away)}>{(sentence) => <p>{sentence}</p>}</For>
      <CourseChart label={label()} played={props.played} past={past()} chosen={place()} onChoose={play} until={until()} end={end()} home={props.home} away={props.away} />
      <ul class="dejavu-list" aria-label={said.list}>
        <For each={games()}>
          {(game, index) => (
            <li>
              <button type="button" aria-pressed={index() === place()} onClick={() => (until() !== undefined && index() === place() ? stop() : play(index()))}>
                <strong>{nameOf(game)}</strong>
                <span>{storyOf(game, props.forecast.horizon)}</span>
                <span class="dejavu-play">{until() !== undefined && index() === place() ? said.stop : said.play}</span>
              </button>
            </li>
          )}
        </For>
      </ul>
      <Show when={props.forecast.summary}>{(summary) => <p class="sub caption">{said.caption(summary())}</p>}</Show>
    </section>
  );
}

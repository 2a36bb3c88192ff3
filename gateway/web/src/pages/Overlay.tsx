/** Over a moving picture: one game, the closest one or all of them, in boxes on a transparent frame of an exact size. */
import { createMemo, For, onCleanup, onMount, Show, type JSX } from "solid-js";
import { AirGame, AirOf } from "../components/AirGame";
import { FanChart } from "../components/FanFigure";
import { WinChart } from "../components/WinChart";
import { seenBefore } from "../model/dejavu";
import { boxOf, frameOf, isGameId, shownOf, sizeOf, type Form } from "../model/overlay";
import { teamStyle } from "../model/teams";
import { query } from "../router";
import { createAir, createClosest, gamesOn, keepEvening } from "../state/air";
import { now } from "../state/clock";
import { game } from "../state/games";
import { createHistory } from "../state/history";
import { createMoment } from "../state/moment";
import { strings } from "../strings";

/** Lines of text that a frame is high, so that type grows with it. */
const LINES = 38;

const shown = createMemo(() => shownOf(query("show")));
const frame = createMemo(() => frameOf(query("frame")));
const size = () => sizeOf(query("size")) / 100;

/** `what`: the id of a game, "closest" or "ticker"; empty of anything else, since viewers see no errors. */
export default function Overlay(props: { what: string }) {
  onMount(() => (document.documentElement.dataset.page = "overlay"));
  onCleanup(() => delete document.documentElement.dataset.page);
  keepEvening();
  const closest = createClosest();
  const id = createMemo(() => (props.what === "closest" ? closest() : isGameId(props.what) ? props.what : undefined));
  return (
    <main class="overlay" style={{ width: `${frame().width}px`, height: `${frame().height}px`, "font-size": `${(size() * frame().height) / LINES}px` }}>
      <Show when={props.what === "ticker"} fallback={<Show when={id()} keyed>{(one) => <One id={one} />}</Show>}>
        <Ticker />
      </Show>
    </main>
  );
}

function Box(props: { form: Form | "ticker"; children: JSX.Element }) {
  const asked = () => ({ place: query("place"), size: query("size"), x: query("x"), y: query("y"), width: query("width") });
  /** A ticker is as wide as the frame allows. */
  const box = () => (props.form === "ticker" ? boxOf("third", frame(), { ...asked(), place: asked().place ?? "bottom", size: "200" }) : boxOf(props.form, frame(), asked()));
  return (
    <section class="overlay-box" data-form={props.form} style={box()}>
      {props.children}
    </section>
  );
}

function One(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history, () => game(props.id)?.shown);
  const air = createAir(() => game(props.id), history);
  return (
    // Nothing is shown before all of it is known.
    <Show when={history.loaded.value() && air()}>
      {(one) => (
        <Box form={shown().form}>
          <h1 class="visually-hidden">{strings.game.title(one().away, one().home)}</h1>
          <Show when={shown().form === "third" || shown().form === "bug"} fallback={
              <Show when={history.minutes().length}>
                <div class="air-chart teams" data-old={one().oldChart} style={teamStyle(one().home, one().away)}>
                  <Show when={shown().form === "fan"} fallback={<WinChart history={history} moment={moment} />}>
                    <FanChart moment={moment} />
                  </Show>
                </div>
              </Show>
            }
          >
            <AirGame air={one()} parts={shown().parts} seen={seenBefore(moment.explained(), moment.minute())} />
          </Show>
        </Box>
      )}
    </Show>
  );
}

/** Games at a time in a ticker of the usual size, and how long they stay. */
const AT_A_TIME = 3;
const TURN_MS = 8000;

/** All games of the evening, a few at a time in turn: text that stands can be read. */
function Ticker() {
  const room = () => Math.max(1, Math.floor(AT_A_TIME / size()));
  const ids = createMemo(() => gamesOn().map((one) => one.id));
  const turn = createMemo(() => Math.floor(now() / TURN_MS) % Math.max(1, Math.ceil(ids().length / room())));
  const parts = () => shown().parts.filter((part) => part === "chance");
  return (
    <Show when={ids().length}>
      <Box form="ticker">
        <h1 class="visually-hidden">{strings.onAir.ticker}</h1>
        <For each={ids().slice(turn() * room(), (turn() + 1) * room())}>{(id) => <AirOf id={id} parts={parts()} />}</For>
      </Box>
    </Show>
  );
}

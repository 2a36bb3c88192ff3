/** One game over a moving picture: a lower third, the fan or the probability of a win, on a transparent frame of an exact size. */
import { createMemo, onCleanup, onMount, Show } from "solid-js";
import { FanChart } from "../components/FanFigure";
import { nowText, OLD_MS } from "../components/ShownGame";
import { WinChart } from "../components/WinChart";
import { lead, percent } from "../model/format";
import { boxOf, frameOf, kindOf } from "../model/overlay";
import { unforecast } from "../model/phase";
import { teamName, teamStyle } from "../model/teams";
import type { Forecast, Shown } from "../model/types";
import { query } from "../router";
import { now } from "../state/clock";
import { game } from "../state/games";
import { createHistory } from "../state/history";
import { createMoment } from "../state/moment";
import { createPhase } from "../state/phase";
import { isCurrent } from "../state/problems";
import { strings } from "../strings";

/** Lines of text that a frame is high, so that type grows with it. */
const LINES = 38;

export default function Overlay(props: { id: string }) {
  const history = createHistory(() => props.id);
  const moment = createMoment(history, () => game(props.id)?.shown);
  const frame = createMemo(() => frameOf(query("frame")));
  const kind = createMemo(() => kindOf(query("show")));
  const box = createMemo(() => boxOf(kind(), frame(), { x: query("x"), y: query("y"), width: query("width") }));
  onMount(() => (document.documentElement.dataset.page = "overlay"));
  onCleanup(() => delete document.documentElement.dataset.page);
  const over = () => history.outcome("final");
  const shown = () => game(props.id)?.shown;
  const state = createPhase(history.newest, over, shown);
  /** Viewers see no words about faults: what may be old turns grey. */
  const isOldState = () => shown()?.status === "live" && now() - shown()!.observed > OLD_MS;
  /** A score at the end stays right without a forecast; a chart is of the newest one. */
  const isCurrentPhase = () => ["live", "halftime"].includes(state()) || (state() === "ended" && kind() === "third");
  const old = () => !isCurrent() || isOldState() || (!over() && !isCurrentPhase());
  return (
    <main class="overlay" style={{ width: `${frame().width}px`, height: `${frame().height}px`, "font-size": `${frame().height / LINES}px` }}>
      <Show when={history.minutes().length || shown()}>
        <section class="overlay-box teams" data-show={kind()} data-old={old()} style={{ ...teamStyle(shown()?.home ?? moment.home(), shown()?.away ?? moment.away()), left: `${box().left}px`, top: `${box().top}px`, width: `${box().width}px` }}>
          <h1 class="visually-hidden">{strings.game.title(moment.away(), moment.home())}</h1>
          <Show when={kind() === "third"}>
            <Third
              home={shown()?.home ?? moment.home()}
              away={shown()?.away ?? moment.away()}
              shown={shown()}
              final={over()?.differential}
              lead={moment.lead()}
              minute={moment.minute()}
              forecast={over() || unforecast(state()) ? undefined : moment.shown().final?.forecast}
            />
          </Show>
          <Show when={kind() === "fan" && history.minutes().length}>
            <FanChart moment={moment} similar={[]} />
          </Show>
          <Show when={kind() === "win" && history.minutes().length}>
            <WinChart history={history} moment={moment} />
          </Show>
        </section>
      </Show>
    </main>
  );
}

interface ThirdProps {
  home: string;
  away: string;
  shown: Shown | undefined;
  /** The differential at the end, once it is known. */
  final: number | undefined;
  /** Lead and time of play of the newest forecast, for a game whose score is not known. */
  lead: number;
  minute: number;
  forecast: Forecast | undefined;
}

function Third(props: ThirdProps) {
  const chance = () => props.forecast?.probability ?? 0.5;
  const words = () => {
    const one = props.forecast;
    if (!one) return "";
    const name = (value: number) => lead(value, props.home, props.away);
    return `${strings.atHorizon.final} ${name(one.point)} · ${strings.tonight.interval(percent(1 - one.alpha), name(one.lower), name(one.upper))}`;
  };
  return (
    <>
      <div class="third-score">
        <Show
          when={props.shown && !["scheduled", "postponed"].includes(props.shown.status)}
          fallback={
            <>
              <strong>{strings.game.title(props.away, props.home)}</strong>
              <span>{props.shown ? nowText(props.shown, false) : `${lead(props.final ?? props.lead, props.home, props.away, 0)} · ${props.final === undefined ? strings.tonight.after(props.minute) : strings.age.final(undefined)}`}</span>
            </>
          }
        >
          <strong data-side="away">
            {teamName(props.away)} <b>{props.shown?.awayScore}</b>
          </strong>
          <strong data-side="home">
            {teamName(props.home)} <b>{props.shown?.homeScore}</b>
          </strong>
          <span>{nowText(props.shown as Shown, false)}</span>
        </Show>
      </div>
      <Show when={props.forecast}>
        <div class="third-chance">
          <span data-side="away">
            {props.away} {percent(1 - chance())}
          </span>
          <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
            <rect class="side-away" width={100 * (1 - chance())} height={4} />
            <rect class="side-home" x={100 * (1 - chance())} width={100 * chance()} height={4} />
          </svg>
          <span data-side="home">
            {props.home} {percent(chance())}
          </span>
        </div>
        <p class="third-end">{words()}</p>
      </Show>
    </>
  );
}

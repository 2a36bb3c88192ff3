/** How a game went that is over, and whether the intervals of a horizon that came held: in place of what was still forecast. */
import { createMemo, For, Show } from "solid-js";
import { held } from "../model/course";
import { percent } from "../model/format";
import { clockSpan, gameClock } from "../model/play";
import { story, swings } from "../model/story";
import { HORIZONS, type CoursePoint } from "../model/types";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { strings } from "../strings";
import { Stat } from "./Stat";
import { winPoints } from "./WinChart";

const said = strings.game;

/** Entries of a list: lowest chance and largest deficit of the winner, and the largest swing. */
export function Story(props: { history: History; moment: Moment; differential: number }) {
  const points = createMemo(() => winPoints(props.history));
  const told = createMemo(() => story(points(), props.moment.played(), props.differential));
  const largest = createMemo(() => swings(points())[0]);
  const team = (home: boolean) => (home ? props.moment.home() : props.moment.away());
  return (
    <>
      <Show when={told()}>
        {(one) => (
          <>
            <Stat name={said.lowest(team(one().homeWon))} value={percent(one().chance)} notes={[`${gameClock(one().lowest.minute)} · ${props.moment.named(one().lowest.lead, 0)}`]} />
            <Show when={one().behind}>{(then) => <Stat name={said.behind(team(one().homeWon))} value={said.points(Math.abs(then().lead))} notes={[gameClock(then().minute)]} />}</Show>
            <Stat name={said.decided} value={one().decided ? gameClock(one().decided?.minute ?? 0) : said.open} notes={[one().decided && said.decidedMeans]} />
          </>
        )}
      </Show>
      <Show when={largest()}>
        {(one) => {
          const chance = ({ probability }: CoursePoint) => percent(one().percent > 0 ? probability : 1 - probability);
          return <Stat name={said.largestSwing} value={said.fromTo(team(one().percent > 0), chance(one().from), chance(one().to))} notes={[clockSpan(one().from.minute, one().to.minute)]} />;
        }}
      </Show>
    </>
  );
}

/** For each horizon that came: how many intervals held. */
export function Held(props: { history: History; moment: Moment }) {
  const settled = () => HORIZONS.filter((horizon) => props.history.outcome(horizon) && props.history.series(horizon).length);
  return (
    <For each={settled()}>
      {(horizon) => (
        <Show when={props.history.outcome(horizon)}>
          {(outcome) => {
            const share = () => held(props.history.series(horizon), outcome());
            const came = () => props.moment.named(outcome().differential, 0) + (outcome().overtimes ? said.afterOvertime : "");
            return <Stat name={said.held(strings.atHorizon[horizon] ?? "", came())} value={strings.tonight.heldOf(share().held, share().of)} notes={[strings.tonight.heldMeans]} />;
          }}
        </Show>
      )}
    </For>
  );
}

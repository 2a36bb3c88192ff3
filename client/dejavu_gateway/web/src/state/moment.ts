/** The moment of a game that is shown: the newest one, or the minute that the viewer chose. */
import { createMemo } from "solid-js";
import { extent } from "../charts/fanChart";
import { yRange } from "../model/fan";
import { HORIZONS, MINUTE_OF, type Horizon, type Recorded } from "../model/types";
import { query, setQuery } from "../router";
import { strings } from "../strings";
import type { History } from "./history";

export function createMoment(history: History) {
  const chosen = () => {
    const minute = Number(query("minute"));
    return history.minutes().includes(minute) ? minute : undefined;
  };
  const minute = () => chosen() ?? history.minutes().at(-1) ?? 0;
  const shown = createMemo((): Partial<Record<Horizon, Recorded>> => {
    const found: Partial<Record<Horizon, Recorded>> = {};
    for (const horizon of HORIZONS) {
      const one = history.at(minute(), horizon);
      if (one) found[horizon] = one;
    }
    return found;
  });
  /** Teams of the shown forecast: other forecasts may have other teams, or the same ones swapped. */
  const teams = () => {
    const one = (shown().final ?? shown().half)?.forecast;
    return one && one.home && one.away ? one : history.teams();
  };
  const pattern = () => (shown().final ?? shown().half)?.pattern ?? [];
  const last = createMemo(() => [...history.series("final"), ...history.series("half")].sort((a, b) => b.pattern.length - a.pattern.length)[0]);
  const outcomes = createMemo(() =>
    HORIZONS.flatMap((horizon) => {
      const came = history.outcome(horizon);
      return came ? [{ minute: MINUTE_OF[horizon], differential: came.differential }] : [];
    }),
  );
  return {
    minute,
    shown,
    pattern,
    outcomes,
    /** Overtimes that the game had, as far as they are known. */
    overtimes: () => history.outcome("final")?.overtimes ?? 0,
    home: () => teams().home || strings.homeName,
    away: () => teams().away || strings.awayName,
    forecasts: () => HORIZONS.flatMap((horizon) => shown()[horizon]?.forecast ?? []),
    /** Differentials after the shown minute, as far as they are known. */
    later: () => (last()?.pattern ?? []).slice(pattern().length),
    following: () => chosen() === undefined || chosen() === history.minutes().at(-1),
    choose: (next: number | undefined) => setQuery({ minute: next === undefined ? undefined : `${next}` }, { replace: true }),
    /** Range of all margins, later ones included, and of the shown bands: in large steps, so that the axis seldom moves. */
    range: createMemo(() =>
      yRange(extent(last()?.pattern ?? [], HORIZONS.flatMap((horizon) => shown()[horizon]?.forecast ?? []), outcomes())),
    ),
  };
}

export type Moment = ReturnType<typeof createMoment>;

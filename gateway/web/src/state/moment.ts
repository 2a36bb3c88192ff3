/** The time of a game that is shown: the newest one, or the one that the viewer chose. */
import { createMemo } from "solid-js";
import { extent } from "../charts/fanChart";
import { played } from "../model/course";
import { yRange } from "../model/fan";
import { lead } from "../model/format";
import { endOf, HOLDS, overtimesBy } from "../model/play";
import { playedBy } from "../model/shown";
import { HORIZONS, MINUTE_OF, type Forecast, type Horizon, type Recorded, type Shown } from "../model/types";
import { query, setQuery } from "../router";
import { strings } from "../strings";
import type { History } from "./history";

/** `feed`: what the feed shows of the game, which may be later than the newest forecast. */
export function createMoment(history: History, feed: () => Shown | undefined = () => undefined) {
  /** The newest forecast up to the minute of the address, as its picture shows it; of an earlier minute, the first one. */
  const chosen = () => {
    const minute = Number(query("minute"));
    return minute > 0 ? (history.minutes().filter((one) => one <= minute).at(-1) ?? history.minutes()[0]) : undefined;
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
  const home = () => teams().home || strings.homeName;
  const away = () => teams().away || strings.awayName;
  /** The shown forecasts, of the latest time first. */
  const newestShown = () => HORIZONS.flatMap((horizon) => shown()[horizon] ?? []).sort((a, b) => b.forecast.minute - a.forecast.minute);
  const series = () => [...history.series("final"), ...history.series("half")];
  const course = createMemo(() => {
    const last = series().sort((a, b) => b.pattern.length - a.pattern.length)[0];
    return played(last?.pattern ?? [], series());
  });
  /** The forecasts that stand at a time of play, one of each horizon that is ahead. */
  const standing = (at: number) => HORIZONS.flatMap((horizon) => history.at(at, horizon)?.forecast ?? []);
  /** Margins up to the shown time: of whole minutes as they were known then. */
  const before = createMemo(() => played(newestShown()[0]?.pattern ?? [], series()).filter((one) => one.minute <= minute()));
  /** Overtimes that the game had, as far as they are known. */
  const overtimes = () => Math.max(history.outcome("final")?.overtimes ?? 0, overtimesBy(history.minutes().at(-1) ?? 0));
  const outcomes = createMemo(() =>
    HORIZONS.flatMap((horizon) => {
      const came = history.outcome(horizon);
      const at = horizon === "final" ? endOf(overtimes()) : MINUTE_OF.half;
      return came ? [{ minute: at, differential: came.differential }] : [];
    }),
  );
  /** The newest forecast of a minute up to the shown time, of the end unless only the half has one: moments have no reasons. */
  const explained = createMemo((): Forecast | undefined => {
    const wanted = shown().final ? "final" : "half";
    return history.series(wanted).filter(({ forecast }) => !forecast.isMoment && forecast.minute <= minute()).at(-1)?.forecast;
  });
  const following = () => chosen() === undefined || chosen() === history.minutes().at(-1);
  /** The outcome of a game that is over, unless an earlier moment of it is shown. */
  const ended = () => (following() ? history.outcome("final") : undefined);
  /** The margin at the end, where the course is known up to it. */
  const finish = () => {
    const [came, end] = [history.outcome("final"), endOf(overtimes())];
    return came && end - (history.minutes().at(-1) ?? 0) <= HOLDS ? [{ minute: end, lead: came.differential }] : [];
  };
  /** The margin at the last play that the feed shows, where it is later than the newest forecast. */
  const lastPlay = () => {
    const now = following() && feed();
    const at = now && now.status === "live" ? playedBy(now) : undefined;
    return now && at !== undefined && at > minute() ? [{ minute: at, lead: now.homeScore - now.awayScore }] : [];
  };
  return {
    minute,
    shown,
    explained,
    ended,
    played: () => [...before(), ...(ended() ? finish() : lastPlay())],
    lead: () => before().at(-1)?.lead ?? 0,
    outcomes,
    overtimes,
    /** Whether overtime was played, and none of it has a forecast. */
    overtimeUnforecast: () => overtimes() > 0 && !overtimesBy(history.minutes().at(-1) ?? 0),
    home,
    away,
    /** A lead by the team that is ahead: "BOS +7.3". */
    named: (points: number, digits = 1) => lead(points, home(), away(), digits),
    standing,
    forecasts: () => standing(minute()),
    /** Margins after the shown time, as far as they are known. */
    later: () => [...course().filter((one) => one.minute > minute()), ...(ended() ? [] : finish())],
    following,
    choose: (next: number | undefined) => setQuery({ minute: next === undefined ? undefined : `${next}` }, { replace: true }),
    /** Range of all margins, later ones included, and of the shown bands: in large steps, so that the axis seldom moves. */
    range: createMemo(() => yRange(extent([...course(), ...lastPlay()], standing(minute()), outcomes()))),
  };
}

export type Moment = ReturnType<typeof createMoment>;

/** The games that the page knows, kept up to date by the board and the stream, in whatever order these arrive. */
import { batch, createSignal, type Signal } from "solid-js";
import type { BoardGame, Held } from "../api/client";
import { forecast as toForecast, outcome as toOutcome, recorded as toRecorded, shown as toShown } from "../api/convert";
import type { GameJson } from "../gen/dejavu/v1/game_service_pb";
import type { StreamPredictionsResponseJson } from "../gen/dejavu/v1/prediction_service_pb";
import type { RecordedPredictionJson } from "../gen/dejavu/v1/record_pb";
import { inMinutes, withPoint } from "../model/course";
import type { CoursePoint, Forecast, Horizon, Outcome, Recorded, Shown } from "../model/types";

/** Data of a game. Values are replaced, never changed. */
export interface Game {
  readonly id: string;
  readonly home: string;
  readonly away: string;
  readonly newest: Readonly<Partial<Record<Horizon, Forecast>>>;
  /** The newest forecast of the end with prices. */
  readonly priced: Recorded | undefined;
  readonly outcomes: Readonly<Partial<Record<Horizon, Outcome>>>;
  /** How many intervals of minutes held of a game that was over when the board was loaded. */
  readonly held: Readonly<Partial<Record<Horizon, Held | undefined>>>;
  readonly course: readonly CoursePoint[];
  /** The newest forecast that names similar games; of the end, unless only the half has one. */
  readonly seen: Forecast | undefined;
  /** What the feed shows of it; undefined where that is not known. */
  readonly shown: Shown | undefined;
}

const signals = new Map<string, Signal<Game>>();
const listed = new Set<string>();
const [ids, setIds] = createSignal<readonly string[]>([]);

/** All games; to follow a single one, use `game`. */
export function games(): Game[] {
  return ids().flatMap((id) => game(id) ?? []);
}

export function game(id: string): Game | undefined {
  const signal = signals.get(id);
  if (signal) return signal[0]();
  ids(); // so that whoever asks is told once it is known
  return undefined;
}

function empty(id: string): Game {
  return { id, home: "", away: "", newest: {}, priced: undefined, outcomes: {}, held: {}, course: [], seen: undefined, shown: undefined };
}

function change(id: string, next: (game: Game) => Game): void {
  let signal = signals.get(id);
  if (!signal) {
    signal = createSignal<Game>(empty(id));
    signals.set(id, signal);
  }
  if (!listed.has(id)) {
    listed.add(id);
    setIds([...listed]);
  }
  signal[1](next);
}

/** Forgets all games: another record may follow, with other entries under the same numbers. */
export function forget(): void {
  batch(() => {
    for (const [id, signal] of signals) signal[1](empty(id));
    listed.clear();
    setIds([]);
  });
}

/** Whether a forecast replaces the standing one: by its minute, then by its entry in the ledger; a late one never replaces one in time. */
function isNewer(one: Forecast, standing: Forecast | undefined): boolean {
  if (!standing) return true;
  if (one.late !== standing.late) return standing.late;
  return one.minute !== standing.minute ? one.minute > standing.minute : one.sequence > standing.sequence;
}

/** Whether a forecast with similar games is rather shown than another one of the game. */
function replaces(one: Forecast, standing: Forecast): boolean {
  return one.horizon === standing.horizon ? isNewer(one, standing) : one.horizon === "final";
}

export function withForecast(game: Game, one: Forecast): Game {
  const newest = isNewer(one, game.newest[one.horizon]) ? { ...game.newest, [one.horizon]: one } : game.newest;
  const point = { minute: one.minute, lead: one.lead ?? 0, probability: one.probability, sequence: one.sequence };
  const standing = game.course.find((other) => other.minute === one.minute);
  const counts = !one.late && one.horizon === "final" && one.lead !== undefined && one.sequence > (standing?.sequence ?? 0);
  // After exchanged teams, probabilities of before are those of the other side.
  const exchanged = one.home !== "" && game.home !== "" && (one.home !== game.home || one.away !== game.away);
  const before = exchanged ? undefined : game.seen;
  const isSeen = one.similar.length > 0 && !one.late && (!before || replaces(one, before));
  return {
    ...game,
    home: one.home || game.home,
    away: one.away || game.away,
    shown: one.home && one.away && (one.home !== game.shown?.home || one.away !== game.shown.away) ? undefined : game.shown,
    newest,
    seen: isSeen ? one : before,
    course: counts ? withPoint(exchanged ? [] : game.course, point) : game.course,
  };
}

export function withOutcome(game: Game, one: Outcome): Game {
  if (one.sequence <= (game.outcomes[one.horizon]?.sequence ?? 0)) return game;
  return { ...game, outcomes: { ...game.outcomes, [one.horizon]: one }, held: { ...game.held, [one.horizon]: undefined } };
}

/** Takes a game from the board. */
export function takeBoardGame(json: BoardGame): void {
  change(json.gameId, (before) => {
    const known = new Set(before.course.map((one) => one.minute));
    const course = (json.course ?? []).map((one) => ({ minute: one.elapsedMinutes, lead: one.lead, probability: one.homeLeadProbability, sequence: 0 }));
    let next: Game = {
      ...before,
      home: json.homeTeam || before.home,
      away: json.awayTeam || before.away,
      course: inMinutes([...before.course, ...course.filter((one) => !known.has(one.minute))]),
    };
    for (const recorded of [json.newest.half, json.newest.final])
      if (recorded?.forecast) next = withForecast(next, toRecorded(recorded).forecast);
    if (json.seen) next = withForecast(next, toForecast(json.seen));
    next = withPrices(next, json.priced ? toRecorded(json.priced) : undefined);
    next = withShown(next, json.state ? toShown(json.state) : undefined);
    const over = json.outcomes.map(toOutcome).reduce(withOutcome, next);
    return { ...over, held: { half: json.held?.half ?? undefined, final: json.held?.final ?? undefined } };
  });
}

/** Takes what the feed shows, unless something newer is known. */
export function withShown(game: Game, shown: Shown | undefined): Game {
  if (!shown || shown.observed < (game.shown?.observed ?? 0)) return game;
  const { home, away } = Object.values(game.newest)[0] ?? shown;
  if (home && away && (home !== shown.home || away !== shown.away)) return game; // the record's teams stand
  return { ...game, home: game.home || shown.home, away: game.away || shown.away, shown };
}

/** Takes a forecast with prices, unless a newer one is known. */
export function withPrices(game: Game, priced: Recorded | undefined): Game {
  return priced && priced.forecast.generated >= (game.priced?.forecast.generated ?? 0) ? { ...game, priced } : game;
}

/** Takes a forecast with prices. */
export function takePriced(json: RecordedPredictionJson): void {
  const priced = toRecorded(json);
  if (priced.forecast.gameId) change(priced.forecast.gameId, (game) => withPrices(game, priced));
}

/** Takes what the feed shows of a game. */
export function takeShown(json: GameJson): void {
  if (json.gameId) change(json.gameId, (game) => withShown(game, toShown(json)));
}

type Listener = (gameId: string) => void;
const listeners = new Set<Listener>();

/** Calls back after each event of the stream with the game that it is about. Returns a function that stops it. */
export function onEvent(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Takes an event of the stream. */
export function takeEvent(event: StreamPredictionsResponseJson): void {
  const { forecast, outcome } = event;
  const id = forecast?.gameId ?? outcome?.gameId;
  if (!id) return;
  if (forecast) change(id, (game) => withForecast(game, toForecast(forecast)));
  if (outcome) change(id, (game) => withOutcome(game, toOutcome(outcome)));
  for (const listener of listeners) listener(id);
}

/** The current outcome of a horizon of a game. */
export function outcomeOf(game: Game, horizon: Horizon): Outcome | undefined {
  const outcome = game.outcomes[horizon];
  return outcome?.withdrawn ? undefined : outcome;
}

/** The forecast of the latest time of play, the end's if both horizons have one. */
export function latest(game: Game): Forecast | undefined {
  const { half, final } = game.newest;
  return half && (!final || half.minute > final.minute) ? half : final;
}

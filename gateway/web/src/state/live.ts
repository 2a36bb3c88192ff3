/** The connection to the gateway: one stream for all games, resumed after every break, and its status. */
import { createSignal } from "solid-js";
import { api, type GatewayStatus } from "../api/client";
import type { GameJson } from "../gen/dejavu/v1/game_service_pb";
import type { StreamPredictionsResponseJson } from "../gen/dejavu/v1/prediction_service_pb";
import type { RecordedPredictionJson } from "../gen/dejavu/v1/record_pb";
import { serverSaid } from "./clock";
import { later } from "./delay";
import { link, type Connection, type Link } from "../model/link";
import { forget, takeEvent, takePriced, takeShown } from "./games";

/** Whether the gateway and the server behind it can answer requests. */
export function reachable(): boolean {
  const state = status();
  return connection() !== "lost" && state !== undefined && (state.reason === "OK" || state.reason === "STREAM_BROKEN");
}

const [connection, setConnection] = createSignal<Connection>("connecting");
const [status, setStatus] = createSignal<GatewayStatus>();
export { connection, status };

/** The state of the whole path of new forecasts, from the server to the page. */
export function reaches(): Link {
  return link(connection(), status()?.reason);
}

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 10_000;
/** Refusals in a row after which the token is dropped and everything is loaded again: a restore, for example, makes it invalid. */
const REFUSALS = 3;
const STATUS_EVERY_MS = 10_000;
/** An open stream sends something every 10 s; after this silence it counts as dead, even if nothing has closed it. */
const SILENCE_MS = 30_000;

let source: EventSource | undefined;
let token = "";
let refusals = 0;
/** Time of the last message of the stream, or of its opening. */
let heard = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
const restarts = new Set<() => void>();

/** Registers a callback for when events may have been missed and loaded data must be loaded again. */
export function onRestart(listener: () => void): () => void {
  restarts.add(listener);
  return () => restarts.delete(listener);
}

function restart(): void {
  for (const listener of restarts) listener();
}

function takeStatus(one: GatewayStatus): void {
  setStatus(one);
  serverSaid(one.serverTime);
}

/** Notes the position up to which the loaded data are complete; a stream without a position resumes there. */
export function loadedUpTo(position: string): void {
  token ||= position;
}

function connect(): void {
  const resumed = token !== "";
  const mine = new EventSource(resumed ? `/api/stream?resume=${encodeURIComponent(token)}` : "/api/stream");
  source = mine;
  heard = Date.now();
  mine.onopen = () => {
    heard = Date.now();
    refusals = 0;
    if (!resumed) restart(); // loaded data may lack events up to now
    setConnection("open");
  };
  /** `placed`: whether such messages have a position. */
  const on = (kind: string, placed: boolean, take: (data: string) => void) =>
    mine.addEventListener(kind, (event: MessageEvent<string>) => {
      heard = Date.now();
      if (placed) token = event.lastEventId || token;
      take(event.data);
    });
  const onTold = <T>(kind: string, placed: boolean, take: (told: T) => void) =>
    on(kind, placed, (data) => {
      const told = JSON.parse(data) as T;
      later(() => take(told));
    });
  on("position", true, () => undefined);
  on("status", true, (data) => takeStatus(JSON.parse(data) as GatewayStatus));
  onTold<StreamPredictionsResponseJson>("prediction", true, takeEvent);
  onTold<GameJson>("game", false, takeShown);
  onTold<RecordedPredictionJson>("priced", false, takePriced);
  on("reset", false, () => {
    // The server does not know the position, as after a restore: the newest forecasts follow.
    token = "";
    later(() => {
      forget();
      restart();
    });
  });
  mine.onerror = () => {
    setConnection("lost");
    // After a broken connection the browser comes back by itself; after an error status it does not.
    if (mine.readyState === EventSource.CLOSED && source === mine) again();
  };
}

function again(): void {
  refusals += 1;
  if (refusals >= REFUSALS) token = "";
  clearTimeout(retry);
  retry = setTimeout(connect, Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (refusals - 1)));
}

/** Reopens a stream that died without being closed, for example in a proxy or after a change of network. */
function replaceSilent(): void {
  if (!source || source.readyState === EventSource.CLOSED || Math.abs(Date.now() - heard) < SILENCE_MS) return;
  setConnection("lost");
  source.close();
  connect();
}

/** Asks for the status, which also notices a gateway that vanished without closing the connection. */
async function check(): Promise<void> {
  replaceSilent();
  try {
    takeStatus(await api.status());
    if (source?.readyState === EventSource.OPEN) setConnection("open");
  } catch {
    setConnection("lost");
  }
}

/**
 * Closes the connection of a hidden tab, because a browser has only six for all its tabs, and resumes the stream when
 * the tab is visible again.
 */
function followVisibility(): void {
  if (document.hidden) {
    clearTimeout(retry);
    source?.close();
    setConnection("connecting");
  } else {
    connect();
    void check();
  }
}

/** Starts the connection, at the position that was loaded if there is one; to be called once. */
export function start(): void {
  if (!document.hidden) connect();
  document.addEventListener("visibilitychange", followVisibility);
  setInterval(() => document.hidden || void check(), STATUS_EVERY_MS);
  addEventListener("online", () => void check());
}

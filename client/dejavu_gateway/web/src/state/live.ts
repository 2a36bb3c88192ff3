/** The connection to the gateway: one stream for all games, resumed after every break, and its status. */
import { createSignal } from "solid-js";
import { api, type GatewayStatus } from "../api/client";
import type { StreamPredictionsResponseJson } from "../gen/dejavu/v1/prediction_service_pb";
import { serverSaid } from "./clock";
import { link, type Connection, type Link } from "../model/link";
import { forget, takeEvent } from "./games";

/** Whether questions can be answered: the gateway is there, and the server behind it. */
export function reachable(): boolean {
  const state = status();
  return connection() !== "lost" && state !== undefined && (state.reason === "OK" || state.reason === "STREAM_BROKEN");
}

const [connection, setConnection] = createSignal<Connection>("connecting");
const [status, setStatus] = createSignal<GatewayStatus>();
export { connection, status };

/** Whether new forecasts reach the page, from the server on. */
export function reaches(): Link {
  return link(connection(), status()?.reason);
}

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 10_000;
/** A token may have become invalid, as after a restore: give it up after so many refusals and load anew. */
const REFUSALS = 3;
const STATUS_EVERY_MS = 10_000;
/** An open stream says something every 10 s; one that is silent for so long is dead, though nothing has closed it. */
const SILENCE_MS = 30_000;

let source: EventSource | undefined;
let token = "";
let refusals = 0;
/** When the stream said something last, or was opened. */
let heard = 0;
let retry: ReturnType<typeof setTimeout> | undefined;
const restarts = new Set<() => void>();

/** Calls back when events may have been missed, so that what was loaded before must be loaded again. */
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

/** What is shown has everything up to this position: a stream that has none yet goes on from there. */
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
    if (!resumed) restart(); // what was loaded before may lack what came until now
    setConnection("open");
  };
  function take(event: MessageEvent<string>): void {
    heard = Date.now();
    token = event.lastEventId || token;
  }
  mine.addEventListener("position", take);
  mine.addEventListener("prediction", (event: MessageEvent<string>) => {
    take(event);
    takeEvent(JSON.parse(event.data) as StreamPredictionsResponseJson);
  });
  mine.addEventListener("status", (event: MessageEvent<string>) => {
    take(event);
    takeStatus(JSON.parse(event.data) as GatewayStatus);
  });
  mine.addEventListener("reset", () => {
    // The server does not know the position, as after a restore: the newest forecasts follow.
    heard = Date.now();
    token = "";
    forget();
    restart();
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

/** Opens a stream again that died without being closed, as in a proxy or after a change of the network. */
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
 * A hidden tab gives its connection back, as a browser has six of them for all its tabs, and resumes where
 * it was once it is seen again.
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

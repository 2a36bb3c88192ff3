/**
 * State of a stream across connections: resume token, duplicate filter and reconnect delay.
 *
 * Performs no I/O. The Python client's dejavu_client/transport/subscription.py has the same rules.
 */

import { status } from "@grpc/grpc-js";

import { DejavuError } from "./errors.js";
import type { StreamPredictionsRequest } from "./gen/dejavu/v1/StreamPredictionsRequest.js";
import type { StreamPredictionsResponse__Output } from "./gen/dejavu/v1/StreamPredictionsResponse.js";

/** Maximum attempts before the first successful connection; after that a stream retries indefinitely. */
const FIRST_ATTEMPTS = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;

/** Longest retry delay to accept from a server that refuses a stream; a longer one is reported as an error. */
const LONGEST_PUSHBACK_MS = 60_000;

export interface StreamSelection {
  /** NBA game ids to follow; all games if empty. */
  gameIds?: readonly string[];
  /** `resumeToken` of an earlier response to resume after; empty to start now. */
  resumeToken?: string;
  /** Start with the newest forecast of each game and horizon of the last 12 hours. */
  includeCurrent?: boolean;
  /** Yield heartbeats too; the first one confirms the subscription. */
  heartbeats?: boolean;
}

export class Subscription {
  #token: string;
  #newest = 0n;
  #failures = 0;
  #connected = false;

  constructor(private readonly selection: StreamSelection) {
    this.#token = selection.resumeToken ?? "";
  }

  /** Returns the request for the next connection, which resumes after the last response. */
  request(): StreamPredictionsRequest {
    const { gameIds = [], includeCurrent = false } = this.selection;
    return { gameIds: [...gameIds], includeCurrent, resumeToken: this.#token };
  }

  /**
   * Processes a response and returns whether to yield it.
   *
   * Forecasts and outcomes share one sequence; those at or before the newest sequence seen are dropped. An event of an
   * unknown kind only updates the token.
   */
  accept(response: StreamPredictionsResponse__Output): boolean {
    this.#connected = true;
    this.#failures = 0;
    this.#token = response.resumeToken || this.#token;
    const recorded = response.forecast ?? response.outcome;
    if (!recorded) {
      return response.event === "heartbeat" && (this.selection.heartbeats ?? false);
    }
    const sequence = BigInt(recorded.sequence);
    if (sequence <= this.#newest) {
      return false;
    }
    this.#newest = sequence;
    return true;
  }

  /**
   * Returns the milliseconds to wait before reconnecting after a connection ended with `error`.
   *
   * @throws `error` itself, if reconnecting would not help, or if all attempts before the first connection failed.
   */
  lost(error: unknown): number {
    this.#failures += 1;
    if (!isTransient(error) || (!this.#connected && this.#failures >= FIRST_ATTEMPTS)) {
      throw error;
    }
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#failures - 1, 10));
    const jittered = delay * (1 - 0.5 * Math.random()); // so that the clients of a server do not reconnect all at once
    return Math.max(jittered, (error as DejavuError).retryAfterMs ?? 0);
  }
}

/** Returns whether an error is transient, that is, caused by the connection or the load and not by the request. */
function isTransient(error: unknown): boolean {
  if (!(error instanceof DejavuError)) {
    return false;
  }
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.CANCELLED:
    case status.DEADLINE_EXCEEDED:
      return true;
    case status.RESOURCE_EXHAUSTED:
      return error.reason === "SUBSCRIBER_TOO_SLOW" || (error.retryAfterMs ?? Infinity) <= LONGEST_PUSHBACK_MS;
    case status.INTERNAL:
    case status.UNKNOWN:
      // The server's errors have a reason: a frame was cut, or a proxy ended the stream without a status.
      return error.reason === "";
    default:
      return false;
  }
}

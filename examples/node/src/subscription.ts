/**
 * What a stream knows beyond its connections: where it stands, what may be handed on, and when to try again.
 *
 * Without any input or output of its own; the Python client's dejavu_client/subscription.py has the same rules.
 */

import { status } from "@grpc/grpc-js";

import { DejavuError } from "./errors.js";
import type { StreamPredictionsRequest } from "./gen/dejavu/v1/StreamPredictionsRequest.js";
import type { StreamPredictionsResponse__Output } from "./gen/dejavu/v1/StreamPredictionsResponse.js";

/** How often a stream tries to connect before it ever stood; afterwards it goes on for as long as it is read. */
const FIRST_ATTEMPTS = 3;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 10_000;

export interface Wanted {
  /** The NBA's ids of the games wanted; none: all. */
  gameIds?: readonly string[];
  /** `resumeToken` of an earlier response: begin right after it; empty: begin now. */
  resumeToken?: string;
  /** Begin with the newest forecast of each game and horizon of the last 12 hours. */
  includeCurrent?: boolean;
  /** Hand on heartbeats too; the first one says that the subscription stands. */
  heartbeats?: boolean;
}

export class Subscription {
  #token: string;
  #newest = 0n;
  #failures = 0;
  #stood = false;

  constructor(private readonly wanted: Wanted) {
    this.#token = wanted.resumeToken ?? "";
  }

  /** What to ask for on the next connection: to go on right after the last response seen. */
  request(): StreamPredictionsRequest {
    const { gameIds = [], includeCurrent = false } = this.wanted;
    return { gameIds: [...gameIds], includeCurrent, resumeToken: this.#token };
  }

  /**
   * Takes note of a response; says whether to hand it on.
   *
   * A forecast or an outcome, which share one order, is not handed on again at or before the newest one seen, whatever
   * the server sends. An event of a kind that is not known moves the token along and nothing else.
   */
  accept(response: StreamPredictionsResponse__Output): boolean {
    this.#stood = true;
    this.#failures = 0;
    this.#token = response.resumeToken || this.#token;
    const told = response.forecast ?? response.outcome;
    if (!told) {
      return response.event === "heartbeat" && (this.wanted.heartbeats ?? false);
    }
    const sequence = BigInt(told.sequence);
    if (sequence <= this.#newest) {
      return false;
    }
    this.#newest = sequence;
    return true;
  }

  /**
   * Milliseconds to wait before connecting again, after a connection ended with `error`.
   *
   * @throws `error` itself, if another connection would not help, or if the stream never stood and was tried enough.
   */
  lost(error: unknown): number {
    this.#failures += 1;
    if (!passes(error) || (!this.#stood && this.#failures >= FIRST_ATTEMPTS)) {
      throw error;
    }
    const delay = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** Math.min(this.#failures - 1, 10));
    return delay * (1 - 0.5 * Math.random()); // so that the clients of one server do not come back all at once
  }
}

/** Whether what ended a stream is a matter of the connection or the moment, not of the request. */
function passes(error: unknown): boolean {
  if (!(error instanceof DejavuError)) {
    return false;
  }
  switch (error.code) {
    case status.UNAVAILABLE:
    case status.CANCELLED:
    case status.DEADLINE_EXCEEDED:
      return true;
    case status.RESOURCE_EXHAUSTED:
      return error.reason === "SUBSCRIBER_TOO_SLOW";
    case status.INTERNAL:
      // A connection that breaks in mid-frame: gRPC's own transport speaks, not the server.
      return error.reason === "" && /RST_STREAM|HTTP2|HTTP\/2/i.test(error.message);
    default:
      return false;
  }
}

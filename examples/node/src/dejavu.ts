/**
 * Dejavu client for Node: typed calls with deadlines and the documented retries; a stream that resumes automatically.
 *
 *     const client = new DejavuClient("127.0.0.1:50051");
 *     const forecast = await client.predict({ pattern: [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6] });
 *     for await (const { forecast } of client.streamPredictions()) console.log(forecast?.gameId);
 *     client.close();
 */

import { setTimeout as sleep } from "node:timers/promises";

import { status, type ChannelCredentials, type ChannelOptions, type Metadata } from "@grpc/grpc-js";
import type { CallOptions, requestCallback } from "@grpc/grpc-js";

import { credentialsFromEnvironment, metadataSource, tokenFromEnvironment, type Token } from "./access.js";
import { ModelService, PredictionService, serversConfig, serviceConfig } from "./contract.js";
import { DejavuError, fromCall } from "./errors.js";
import type { Forecast__Output } from "./gen/dejavu/v1/Forecast.js";
import type { ListModelsResponse__Output } from "./gen/dejavu/v1/ListModelsResponse.js";
import type { Model__Output } from "./gen/dejavu/v1/Model.js";
import type { PredictBatchResponse__Output } from "./gen/dejavu/v1/PredictBatchResponse.js";
import type { PredictBatchResult__Output } from "./gen/dejavu/v1/PredictBatchResult.js";
import type { PredictRequest } from "./gen/dejavu/v1/PredictRequest.js";
import type { PredictResponse__Output } from "./gen/dejavu/v1/PredictResponse.js";
import type { StreamPredictionsResponse__Output } from "./gen/dejavu/v1/StreamPredictionsResponse.js";
import { Subscription, type StreamSelection } from "./subscription.js";

export { DejavuError, type FieldViolation } from "./errors.js";
export type { Forecast__Output as Forecast } from "./gen/dejavu/v1/Forecast.js";
export type { PredictRequest } from "./gen/dejavu/v1/PredictRequest.js";

export const DEFAULT_ADDRESS = "127.0.0.1:50051";

const CHANNEL_OPTIONS: ChannelOptions = {
  "grpc.service_config_disable_resolution": 1, // use the client's retry policy, not one from name resolution
  "grpc.use_local_subchannel_pool": 1, // own connection for each client, so that clients are spread over workers
  "grpc.keepalive_time_ms": 12_000, // the server allows a ping every 10 s
  "grpc.keepalive_timeout_ms": 10_000,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.initial_reconnect_backoff_ms": 200, // reconnect to a restarted server before a call's retries are exhausted
  "grpc.max_reconnect_backoff_ms": 800,
  "grpc.max_receive_message_length": 64 * 1024 * 1024, // a thousand explained forecasts exceed the default 4 MiB
};

/**
 * Returns target and options for gRPC: round robin over several servers of one ledger, each of which has the others'
 * forecasts and resume tokens. They are a list of IP addresses with ports, or the records of a DNS name.
 */
function servers(address: string): [target: string, options: ChannelOptions] {
  const list = /^[\d[]/.test(address) && address.includes(",");
  const several = list || address.startsWith("dns:");
  const target = list ? `${address.startsWith("[") ? "ipv6" : "ipv4"}:${address}` : address;
  return [target, { ...CHANNEL_OPTIONS, "grpc.service_config": several ? serversConfig : serviceConfig }];
}

export interface ClientOptions {
  /** Deadline of a call in milliseconds, including retries; not for streams. Default: DEJAVU_TIMEOUT, or 3 s. */
  timeoutMs?: number;
  /** Milliseconds without any message, heartbeats included, after which a stream is considered dead. Default: 60 s. */
  silenceMs?: number;
  /** Credentials of the connection; TLS by default if DEJAVU_TLS, DEJAVU_CA or DEJAVU_CERT is set, else plain text. */
  credentials?: ChannelCredentials;
  /** The token of the caller. Default: that of DEJAVU_TOKEN_FILE, which is followed, or of DEJAVU_TOKEN. */
  token?: Token;
}

export interface StreamOptions extends StreamSelection {
  /** Ends the stream without an error. */
  signal?: AbortSignal;
  /** Called with the error that ended a connection, and the delay before the next attempt in milliseconds. */
  onLost?: (error: DejavuError, delayMs: number) => void;
}

/**
 * Client of a Dejavu server, by default the one at DEJAVU_TARGET, or of several: HOST:PORT,HOST:PORT with IP addresses,
 * or dns:///NAME:PORT. Connects on first use.
 *
 * Failed calls throw a DejavuError.
 */
export class DejavuClient {
  readonly #prediction;
  readonly #models;
  readonly #metadata: () => Metadata;
  readonly #timeoutMs: number;
  readonly #silenceMs: number;

  constructor(address: string = process.env["DEJAVU_TARGET"] ?? DEFAULT_ADDRESS, options: ClientOptions = {}) {
    const security = options.credentials ?? credentialsFromEnvironment();
    this.#metadata = metadataSource(address, options.token ?? tokenFromEnvironment(), security._isSecure());
    const [target, channelOptions] = servers(address);
    this.#prediction = new PredictionService(target, security, channelOptions);
    // Both services share one channel.
    this.#models = new ModelService(target, security, { channelOverride: this.#prediction.getChannel() });
    this.#timeoutMs = options.timeoutMs ?? 1000 * Number(process.env["DEJAVU_TIMEOUT"] ?? 3);
    if (!(this.#timeoutMs > 0 && this.#timeoutMs < Infinity)) {
      throw new RangeError("the timeout must be a positive, finite number: see timeoutMs and DEJAVU_TIMEOUT");
    }
    this.#silenceMs = options.silenceMs ?? 60_000;
  }

  /** Forecasts one game. With a `gameId` it is recorded in the ledger before the response; without, it is a what-if. */
  async predict(request: PredictRequest): Promise<Forecast__Output> {
    const { forecast } = await this.#call<PredictResponse__Output>((options, done) =>
      this.#prediction.predict(request, this.#metadata(), options, done),
    );
    return required(forecast);
  }

  /** Forecasts 1 to 1,000 games; each succeeds or fails independently. Results are in the order of the requests. */
  async predictBatch(requests: PredictRequest[]): Promise<PredictBatchResult__Output[]> {
    const { results } = await this.#call<PredictBatchResponse__Output>((options, done) =>
      this.#prediction.predictBatch({ requests }, this.#metadata(), options, done),
    );
    return results;
  }

  /** Lists the models loaded by the server, the active one first. */
  async listModels(): Promise<Model__Output[]> {
    const models: Model__Output[] = [];
    let pageToken = "";
    do {
      const page = await this.#call<ListModelsResponse__Output>((options, done) =>
        this.#models.listModels({ pageToken }, this.#metadata(), options, done),
      );
      models.push(...page.models);
      pageToken = page.nextPageToken;
    } while (pageToken);
    return models;
  }

  /**
   * Streams every recorded forecast and outcome, once and in order of sequence, until the caller stops reading.
   *
   * Reconnects after a broken connection and resumes at the last event.
   *
   * @throws DejavuError OUT_OF_RANGE if the resume token has expired, INVALID_ARGUMENT if it is from another ledger,
   *   UNAVAILABLE if the server can't be reached at first; after the first connection it retries indefinitely.
   */
  async *streamPredictions(
    options: StreamOptions = {},
  ): AsyncGenerator<StreamPredictionsResponse__Output, void, undefined> {
    const { signal, onLost } = options;
    const subscription = new Subscription(options);
    while (!signal?.aborted) {
      try {
        yield* this.#connection(subscription, signal);
      } catch (error) {
        if (signal?.aborted) {
          return;
        }
        const delayMs = subscription.lost(error);
        onLost?.(error as DejavuError, delayMs);
        await sleep(delayMs, undefined, signal ? { signal } : {}).catch(() => undefined);
      }
    }
  }

  /** Closes the connection; calls in progress end with CANCELLED. */
  close(): void {
    this.#prediction.close();
  }

  /** Yields the events of one connection. Ends with an exception, unless the reader stops first. */
  async *#connection(
    subscription: Subscription,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<StreamPredictionsResponse__Output, void, undefined> {
    const call = this.#prediction.streamPredictions(subscription.request(), this.#metadata());
    call.on("error", () => undefined); // the error is thrown below; after the reader has stopped it is ignored
    const cancel = (): void => call.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<StreamPredictionsResponse__Output>;
    try {
      for (;;) {
        const { done, value } = await this.#next(messages, cancel);
        if (done) {
          throw new DejavuError(status.UNAVAILABLE, "the server ended the stream");
        }
        if (subscription.accept(value)) {
          yield value;
        }
      }
    } finally {
      signal?.removeEventListener("abort", cancel);
      call.cancel();
    }
  }

  /** Returns the next message. Only the wait for it counts as silence, not the reader's processing time. */
  async #next<T>(messages: AsyncIterator<T>, cancel: () => void): Promise<IteratorResult<T>> {
    let silent = false;
    const watchdog = setTimeout(() => {
      silent = true;
      cancel();
    }, this.#silenceMs);
    try {
      return await messages.next();
    } catch (error) {
      if (silent) {
        throw new DejavuError(status.UNAVAILABLE, `no message for ${this.#silenceMs / 1000} s`);
      }
      throw fromCall(error);
    } finally {
      clearTimeout(watchdog);
    }
  }

  /** Starts a call with the client's deadline and returns a promise. */
  #call<Response>(start: (options: CallOptions, done: requestCallback<Response>) => unknown): Promise<Response> {
    return new Promise((resolve, reject) => {
      start({ deadline: Date.now() + this.#timeoutMs }, (error, response) => {
        if (error) {
          reject(fromCall(error) as Error);
        } else {
          resolve(required(response));
        }
      });
    });
  }
}

/** Returns the value; throws if the response lacks it. */
function required<T>(value: T | null | undefined): T {
  if (value === null || value === undefined) {
    throw new DejavuError(status.INTERNAL, "the response lacks a required field");
  }
  return value;
}

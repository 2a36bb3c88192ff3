/** Calls of the gateway's JSON endpoints. */
import type { CompareModelsResponseJson, GetModelResponseJson, ListModelChangesResponseJson, ListModelsResponseJson } from "../gen/dejavu/v1/model_service_pb";
import type { ForecastJson } from "../gen/dejavu/v1/forecast_pb";
import type { GameJson } from "../gen/dejavu/v1/game_service_pb";
import type { GetServiceStatsResponseJson } from "../gen/dejavu/ops/v1/operations_service_pb";
import type { PredictRequestJson, PredictResponseJson } from "../gen/dejavu/v1/prediction_service_pb";
import type { RecordedPredictionJson, OutcomeJson } from "../gen/dejavu/v1/record_pb";
import type {
  GetCheckpointResponseJson,
  GetLeaderboardResponseJson,
  GetPredictionResponseJson,
  GetScorecardResponseJson,
} from "../gen/dejavu/v1/record_service_pb";

/** The gateway answered with an error, or not at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly fields: { field: string; description: string }[],
  ) {
    super(message);
  }
}

export interface GatewayStatus {
  serving: boolean;
  streaming: boolean;
  reason: string;
  message: string;
  since: string;
  ledger: { ok: boolean; message: string };
  newestEventTime: string | null;
  serverTime: string;
  demo: boolean;
  /** The day that is shown as tonight. */
  evening: string;
  /** Whether the record is to be had as parquet. */
  parquet: boolean;
}

export interface Held {
  held: number;
  of: number;
}

export interface BoardGame {
  gameId: string;
  homeTeam: string;
  awayTeam: string;
  newest: { half?: RecordedPredictionJson | null; final?: RecordedPredictionJson | null };
  /** The newest forecast of the end with prices. */
  priced?: RecordedPredictionJson | null;
  outcomes: OutcomeJson[];
  /** How many intervals of minutes held; null without an outcome. */
  held?: { half?: Held | null; final?: Held | null };
  course?: { elapsedMinutes: number; lead: number; homeLeadProbability: number }[];
  state?: GameJson | null;
  /** The newest forecast of the last minutes that names similar games. */
  seen?: ForecastJson | null;
}

export interface Board {
  date: string;
  games: BoardGame[];
  dates: { previous: string | null; next: string | null };
  /** Position of the stream up to which today's board is complete; empty if the stream is interrupted. */
  resumeToken: string;
}

export interface GameHistory {
  predictions: RecordedPredictionJson[];
  outcomes: OutcomeJson[];
}

export type Query = Record<string, string | number | boolean | undefined>;

export function path(base: string, query: Query = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined && value !== "") search.set(name, `${value}`);
  const text = search.toString();
  return text ? `${base}?${text}` : base;
}

/** Timeout, longer than the gateway works on an answer: a page that hangs up earlier would end that work. */
const TIMEOUT_MS = 80_000;
const STATUS_TIMEOUT_MS = 15_000;

async function call<T>(url: string, init: RequestInit = {}, milliseconds = TIMEOUT_MS): Promise<T> {
  const limit = AbortSignal.timeout(milliseconds);
  const signal = init.signal ? AbortSignal.any([init.signal, limit]) : limit;
  let response: Response;
  try {
    response = await fetch(url, { ...init, signal });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError("", 0, []);
  }
  if (response.ok) return (await response.json()) as T;
  const body = (await response.json().catch(() => ({}))) as { error?: Partial<ApiError> };
  const { message = "", fields = [] } = body.error ?? {};
  throw new ApiError(message, response.status, fields);
}

export const api = {
  status: () => call<GatewayStatus>("/api/status", {}, STATUS_TIMEOUT_MS),
  board: (date?: string) => call<Board>(path("/api/games", { date, includeReplays: 1 })),
  prediction: (id: string, query: Query) => call<GetPredictionResponseJson>(path(`/api/predictions/${id}`, query)),
  game: (id: string) => call<GameHistory>(`/api/games/${encodeURIComponent(id)}`),
  models: () => call<ListModelsResponseJson>(path("/api/models", { pageSize: 500 })),
  model: (version: string) => call<GetModelResponseJson>(`/api/models/${encodeURIComponent(version)}`),
  comparison: (query: Query) => call<CompareModelsResponseJson>(path("/api/comparison", query)),
  modelChanges: (pageToken: string) => call<ListModelChangesResponseJson>(path("/api/model-changes", { pageToken })),
  stats: () => call<GetServiceStatsResponseJson>("/api/stats"),
  checkpoint: () => call<GetCheckpointResponseJson>("/api/checkpoint"),
  scorecard: (query: Query) => call<GetScorecardResponseJson>(path("/api/scorecard", query)),
  leaderboard: (query: Query) => call<GetLeaderboardResponseJson>(path("/api/leaderboard", query)),
  predict: (request: PredictRequestJson, signal: AbortSignal) =>
    call<PredictResponseJson>("/api/predict", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      signal,
    }),
};

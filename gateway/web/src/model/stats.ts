/** Rows of the server's statistics, as the page shows them. */
import type { GetServiceStatsResponseJson, LatencyStatsJson, StatsWindowJson } from "../gen/dejavu/ops/v1/operations_service_pb";
import { num } from "../api/convert";
import { strings } from "../strings";
import { percent, span } from "./format";

const said = strings.system.stats;
/** Length of the window whose calls are shown, in seconds. */
const WINDOW_SECONDS = 300;

type Rows = [string, ...string[]][];

function milliseconds(seconds: number): string {
  return seconds < 0.01 ? (1000 * seconds).toFixed(1) : (1000 * seconds).toFixed(0);
}

/** Seconds as a span. */
function age(seconds: Parameters<typeof num>[0]): string {
  return span(1000 * num(seconds));
}

function quantiles(latency: LatencyStatsJson | undefined): string[] {
  return (latency?.quantiles ?? []).map((each) => (each.upperSeconds === undefined ? ">" : "") + milliseconds(num(each.seconds)));
}

function ofLength(all: StatsWindowJson[] | undefined, seconds: number): StatsWindowJson | undefined {
  return all?.find((each) => (each.lengthSeconds ?? 0) === seconds);
}

/** Calls of the window by method: name, calls a minute, failed ones with their codes, p50, p95 and p99 in milliseconds. */
export function methodRows(stats: GetServiceStatsResponseJson): Rows {
  const window = ofLength(stats.windows, WINDOW_SECONDS);
  const minutes = num(window?.coveredSeconds) / 60 || 1;
  return (window?.methods ?? []).map((method) => [
    (method.method ?? "").replace(/.*\//, ""),
    (num(method.calls) / minutes).toFixed(1),
    (method.errors ?? []).map((error) => `${error.code} ${error.calls}`).join(", ") || "0",
    ...quantiles(method.latency),
  ]);
}

/** State and activity of the server, by name. */
export function stateRows(stats: GetServiceStatsResponseJson): Rows {
  const { server, ledgerLag: lag, openStreams, feeds } = stats;
  const start = ofLength(stats.windows, 0);
  const forecasts = (start?.predictions ?? []).reduce((sum, each) => sum + num(each.whatIfs) + num(each.recorded) + num(each.alreadyRecorded), 0);
  const rows: Rows = [
    [said.workers, said.of(server?.workers?.length ?? 0, num(server?.configuredWorkers))],
    [said.uptime, age(server?.uptimeSeconds)],
    [said.forecasts, forecasts.toLocaleString()],
    [said.streams, `${num(openStreams)}`],
    [said.lag, said.behind(num(lag?.entries), age(lag?.lagSeconds), num(lag?.outcomes))],
  ];
  if (start?.cache) rows.push([said.cache, percent(num(start.cache.hitRate))]);
  for (const feed of feeds ?? []) rows.push([said.feed(feed.feed ?? ""), feed.dataAgeSeconds === undefined ? strings.system.feedIdle : age(feed.dataAgeSeconds)]);
  for (const each of stats.coverage ?? []) {
    const horizon = each.horizon === "HORIZON_FINAL" ? "final" : "half";
    rows.push([said.coverage[horizon], said.held(percent(num(each.coverage), 1), percent(num(each.nominalCoverage), 1), num(each.games))]);
  }
  return rows;
}

/**
 * Streams forecasts as they are recorded, and outcomes as they are reported:
 *
 *     npm run stream -- [--current] [--game ID]… [--token TOKEN] [--count N] [--json]
 *
 * Reconnects by itself when a worker or the server restarts. When it ends (Ctrl-C or --count), it prints the last
 * resume token on stderr; pass it to --token to resume right after it.
 */

import { parseArgs } from "node:util";

import { DejavuClient, DejavuError } from "./dejavu.js";
import { fail, signed } from "./text.js";

const { values } = parseArgs({
  options: {
    current: { type: "boolean", default: false },
    game: { type: "string", multiple: true, default: [] },
    token: { type: "string", default: "" },
    count: { type: "string", default: "0" },
    json: { type: "boolean", default: false },
  },
});
const count = Number(values.count);
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
process.once("SIGTERM", () => stop.abort());

const client = new DejavuClient();
let token = values.token;
let seen = 0;
let subscribed = false;
try {
  const events = client.streamPredictions({
    gameIds: values.game,
    includeCurrent: values.current,
    resumeToken: token,
    heartbeats: true,
    signal: stop.signal,
    onLost: (error, delayMs) => {
      subscribed = false;
      console.error(`lost the stream (${error}); retrying in ${(delayMs / 1000).toFixed(1)} s`);
    },
  });
  for await (const { forecast, outcome, resumeToken } of events) {
    token = resumeToken;
    const recorded = forecast ?? outcome;
    if (!recorded) {
      if (!subscribed) console.error("listening"); // no event is missed from now on
      subscribed = true;
      continue;
    }
    const horizon = recorded.horizon === "HORIZON_FINAL" ? "end" : "half";
    if (values.json) {
      console.log(JSON.stringify(recorded));
    } else if (!forecast) {
      // A withdrawn outcome still has its differential.
      const result = outcome?.withdrawn ? "withdrawn" : signed(outcome?.differential ?? 0);
      console.log(`${recorded.sequence} ${recorded.gameId}: outcome ${result} at the ${horizon}`);
    } else {
      const interval = `[${signed(forecast.intervalLower)}, ${signed(forecast.intervalUpper)}]`;
      const about = `${forecast.sequence} ${forecast.gameId}, minute ${forecast.elapsedMinutes}`;
      const late = forecast.late === "LATE_REASON_UNSPECIFIED" ? "" : " (late: not the current forecast)";
      console.log(`${about}: ${signed(forecast.pointForecast)} ${interval} at the ${horizon}${late}`);
    }
    seen += 1;
    if (seen === count) break;
  }
  console.error(`resume token: ${token}`);
} catch (error) {
  if (!(error instanceof DejavuError)) throw error;
  fail(error);
} finally {
  client.close();
}

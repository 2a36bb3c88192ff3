/**
 * Requests fifty forecasts in one call, one of which is invalid: `npm run batch -- [--json]`.
 *
 * The requests are what-ifs with linearly growing leads of −24 to +24 points at minute 18; the fiftieth is invalid.
 */

import { status } from "@grpc/grpc-js";
import { parseArgs } from "node:util";

import { DejavuClient, DejavuError, type PredictRequest } from "./dejavu.js";
import { fail, signed } from "./text.js";

const { values } = parseArgs({ options: { json: { type: "boolean", default: false } } });

const leads = Array.from({ length: 49 }, (_, index) => index - 24);
const requests: PredictRequest[] = leads.map((lead) => ({
  pattern: Array.from({ length: 18 }, (_, minute) => (lead * (minute + 1)) / 18),
  horizon: "HORIZON_HALFTIME",
}));
requests.push({ pattern: [Number.NaN], horizon: "HORIZON_HALFTIME" });

const client = new DejavuClient();
try {
  const results = await client.predictBatch(requests);
  if (values.json) {
    console.log(JSON.stringify(results));
  } else {
    results.forEach(({ forecast, error }, index) => {
      if (forecast) {
        const probability = Math.round(100 * forecast.homeLeadProbability);
        const lead = signed(leads[index] ?? 0);
        console.log(`${lead}: ${signed(forecast.pointForecast)}, the home team leads at the half: ${probability} %`);
      } else if (error) {
        console.log(`request ${index} was refused: ${status[error.code]} ${error.reason}: ${error.message}`);
      }
    });
  }
} catch (error) {
  if (!(error instanceof DejavuError)) throw error;
  fail(error);
} finally {
  client.close();
}

/**
 * Requests one forecast: `npm run predict -- [--game ID] [--home BOS] [--away LAL] [--date 2024-11-01] [--final] [--json] [DIFFERENTIAL …]`.
 *
 * Without a game id it is a what-if, which is not recorded; with one it is recorded.
 */

import { parseArgs } from "node:util";

import { DejavuClient, DejavuError } from "./dejavu.js";
import { fail, signed } from "./text.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    game: { type: "string", default: "" },
    home: { type: "string", default: "BOS" },
    away: { type: "string", default: "LAL" },
    date: { type: "string", default: "2024-11-01" },
    final: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
// Home − away at the end of minutes 1 … 18.
const pattern = positionals.length
  ? positionals.map(Number)
  : [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6];

const client = new DejavuClient();
try {
  const forecast = await client.predict({
    pattern,
    gameId: values.game,
    homeTeam: values.home,
    awayTeam: values.away,
    // The shipped ratings are of June 2024. A game with an id is of today, unless its season is over.
    gameDate: values.game ? "" : values.date,
    horizon: values.final ? "HORIZON_FINAL" : "HORIZON_HALFTIME",
    quantileLevels: [0.1, 0.5, 0.9],
    returnExplanation: true,
  });
  if (values.json) {
    console.log(JSON.stringify(forecast));
  } else {
    const interval = `[${signed(forecast.intervalLower)}, ${signed(forecast.intervalUpper)}]`;
    const horizon = values.final ? "end" : "half";
    console.log(`${values.away} @ ${values.home}: ${signed(forecast.pointForecast)} ${interval} at the ${horizon}`);
    console.log(`${values.home} leads then: ${Math.round(100 * forecast.homeLeadProbability)} %`);
    for (const { text } of forecast.warnings) console.log(`  warning: ${text}`);
    for (const { level, value } of forecast.quantiles) {
      console.log(`  ${Math.round(100 * level)} %: ${signed(value)}`);
    }
    for (const game of forecast.explanation?.similarGames.slice(0, 3) ?? []) {
      console.log(`  ${game.label}: ${signed(game.differential)} then, ${signed(game.differentialAtHorizon)} at the ${horizon}`);
    }
  }
} catch (error) {
  if (!(error instanceof DejavuError)) throw error;
  fail(error);
} finally {
  client.close();
}

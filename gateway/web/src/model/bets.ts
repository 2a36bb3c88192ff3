/** Bets of the record in words, and their sums one after another. The server computed stake, profit and closing-line value of each. */
import { num } from "../api/convert";
import type { PlacedBetJson } from "../gen/dejavu/v1/scorecard_pb";
import { strings } from "../strings";
import { signed } from "./format";
import type { Horizon } from "./types";

const said = strings.bets;

/** A bet as books print it: "BOS −5.5", "more than 221.5 points"; without a handicap "BOS wins", or "BOS leads at the half". */
export function betName(bet: PlacedBetJson, horizon: Horizon): string {
  const line = num(bet.line);
  const points = (value: number) => signed(value, Number.isInteger(value) ? 0 : 1);
  switch (bet.side) {
    case "MARKET_SIDE_OVER":
      return said.over(line);
    case "MARKET_SIDE_UNDER":
      return said.under(line);
    default: {
      const home = bet.side === "MARKET_SIDE_HOME";
      const team = (home ? bet.homeTeam : bet.awayTeam) || (home ? said.home : said.away);
      return line ? `${team} ${points(home ? -line : line)}` : (strings.whatIf.wins[horizon]?.(team) ?? team);
    }
  }
}

/** What the bets up to each of them, in their order, have returned, and would have at the market's next price; shares of the bankroll. */
export function sums(bets: readonly PlacedBetJson[]) {
  let [profit, closing] = [0, 0];
  return bets.map((bet) => {
    profit += num(bet.profit);
    closing += num(bet.stake) * num(bet.closingLineValue);
    return { profit, closing };
  });
}

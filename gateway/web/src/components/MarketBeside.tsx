/** The market beside the model: a card on a game's page, a line on the board. Recorded prices only, never as advice. */
import { For, Show } from "solid-js";
import { betName } from "../model/bets";
import { clock, percent, signed, span } from "../model/format";
import { difference, isOld } from "../model/market";
import { unforecast, type Phase } from "../model/phase";
import { afterOrAt } from "../model/play";
import type { Forecast, Line, Quote, Recorded, Side } from "../model/types";
import { now } from "../state/clock";
import { game, games, latest, outcomeOf, type Game } from "../state/games";
import type { History } from "../state/history";
import type { Moment } from "../state/moment";
import { createPhase } from "../state/phase";
import { strings } from "../strings";
import { Table } from "./Figure";
import { lineText } from "./ShownGame";

const said = strings.market;

/** A bet in words; `full`: with what a handicap means. */
function bet({ kind, line }: Quote, isAbove: boolean, { home, away, horizon }: Forecast, full = false): string {
  const sides = kind === "total" ? (["MARKET_SIDE_OVER", "MARKET_SIDE_UNDER"] as const) : (["MARKET_SIDE_HOME", "MARKET_SIDE_AWAY"] as const);
  const name = betName({ side: sides[isAbove ? 0 : 1], line, homeTeam: home, awayTeam: away }, horizon);
  return full && line && kind === "lead" ? `${name}: ${said.means(isAbove ? -line : line)}` : name;
}

/** Prices with what market and model say, and what has to stand beside every difference; `worth`: and what a stake is worth. */
export function MarketTable(props: { forecast: Forecast; quotes: readonly Quote[]; worth?: boolean }) {
  const table = () => ({
    columns: [...said.columns, ...(props.worth ? said.worth : [])],
    rows: props.quotes.flatMap((quote) =>
      ([[quote.above, true], [quote.below, false]] as [Side, boolean][]).map(([side, isAbove]) => [
        bet(quote, isAbove, props.forecast, true),
        quote.traded ? `${side.price}, ${said.trade(clock(quote.traded))}` : side.price,
        percent(side.market, 1),
        percent(side.model, 1),
        difference(side, 1),
        ...(props.worth ? [`${signed(100 * side.worth, 1)} %`, side.stake ? percent(side.stake, 2) : "–"] : []),
      ]),
    ),
  });
  return (
    <>
      <Table data={table()} caption={said.title} />
      <p class="sub caption">
        {said.caption(props.quotes.filter((quote) => !quote.traded).map((quote) => percent(quote.margin, 1)).join(", "))} <strong>{strings.bets.notice(props.quotes[0]?.notice ?? "")}</strong>
      </p>
      <For each={[...new Set(props.quotes.flatMap((quote) => quote.warnings))]}>{(warning) => <p class="warning">{warning}</p>}</For>
    </>
  );
}

/** The probabilities of the home win by the market at the times of its prices: of bets on the winner, not of handicaps. */
export function marketCourse(history: History): { minute: number; probability: number }[] {
  return history.series("final").flatMap(({ forecast, quotes }) => {
    const winner = quotes.find((one) => one.kind === "lead" && !one.line);
    return winner ? [{ minute: forecast.minute, probability: winner.above.market }] : [];
  });
}

export function MarketCard(props: { id: string; history: History; moment: Moment }) {
  const phase = createPhase(props.history.newest, () => props.history.outcome("final"), () => game(props.id)?.shown);
  const priced = (): Recorded | undefined =>
    props.history.series("final").filter((one) => one.forecast.minute <= props.moment.minute() && one.quotes.length).at(-1);
  const when = ({ forecast }: Recorded) => {
    const made = afterOrAt(forecast.minute);
    const age = span(now() - forecast.generated);
    if (!props.moment.following()) return said.then(made);
    if (phase() === "over" || unforecast(phase())) return said.last(made);
    return phase() === "stale" || isOld(forecast, props.history.newest(), now()) ? said.old(made, age) : said.current(made, age);
  };
  const line = (): Line | undefined => {
    const shown = game(props.id)?.shown;
    const read = props.moment.shown().final?.forecast.line;
    if (read) return read;
    return shown && (shown.margin !== undefined || shown.total !== undefined) ? { margin: shown.margin, total: shown.total, read: Number.NaN } : undefined;
  };
  const teams = () => ({ home: props.moment.home(), away: props.moment.away() });
  return (
    <Show when={priced() || line()}>
      <section class="card market">
        <h2>{said.title}</h2>
        <Show when={priced()} fallback={<p>{said.noPrice}</p>}>
          {(one) => (
            <>
              <p>{when(one())}</p>
              <MarketTable forecast={one().forecast} quotes={one().quotes} />
            </>
          )}
        </Show>
        <Show when={line()}>
          {(known) => (
            <p class="sub">
              {said.closing(lineText({ ...known(), ...teams() }), Number.isNaN(known().read) ? "" : clock(known().read))}
            </p>
          )}
        </Show>
      </section>
    </Show>
  );
}

/** The newest price of a game in play in one line, for the likelier side; without one the line before tip-off. */
export function MarketLine(props: { game: Game; phase: Phase; side: "home" | "away" }) {
  const quote = () => props.game.priced?.quotes.find((one) => one.kind === "lead");
  const words = () => {
    const [one, priced, newest] = [quote(), props.game.priced?.forecast, latest(props.game)];
    if (!one || !priced || !newest || priced.minute > newest.minute) {
      const line = props.game.shown && lineText({ ...props.game.shown, total: undefined });
      return line ? said.line(line) : "";
    }
    const isAbove = props.side === "home";
    const side = isAbove ? one.above : one.below;
    const numbers = [bet(one, isAbove, priced), percent(side.market), percent(side.model), difference(side)] as const;
    const old = props.phase === "stale" || isOld(priced, newest, now());
    const made = afterOrAt(priced.minute);
    const beside =
      !old && priced.sequence === props.game.newest.final?.sequence
        ? said.beside(...numbers)
        : said.besideThen(old ? said.oldShort(made, span(now() - priced.generated)) : made, ...numbers);
    return [beside, one.traded ? said.trade(clock(one.traded)) : "", one.doubtful ? said.doubtful : ""].filter(Boolean).join(" · ");
  };
  return (
    <Show when={words()}>{(text) => <p class="sub market-line">{text()}</p>}</Show>
  );
}

/** What has to be said of the differences on a board, where one is shown. */
export function MarketNote() {
  const notice = () => games().find((one) => one.priced && !outcomeOf(one, "final"))?.priced?.quotes[0]?.notice;
  return <Show when={notice()}>{(text) => <p class="sub caption">{said.caption("")} {strings.bets.notice(text())}</p>}</Show>;
}

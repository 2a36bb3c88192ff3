/** The recorded prices: bets by the recorded stakes one after another, and how far the model is from the market. */
import { createMemo, createSignal, Show } from "solid-js";
import { api } from "../api/client";
import { num } from "../api/convert";
import { Chart } from "../charts/Chart";
import { returnData, returnOptions } from "../charts/returnChart";
import type { MarketRecordJson, PlacedBetJson } from "../gen/dejavu/v1/scorecard_pb";
import { betName, sums } from "../model/bets";
import { figure, fixed, percent, signed } from "../model/format";
import { afterOrAt } from "../model/play";
import { createLoaded } from "../state/load";
import { conditions, PARTS, type Filter } from "../state/record";
import { strings } from "../strings";
import { Select } from "./Choices";
import { Figure, Legend } from "./Figure";
import { Pending } from "./Frame";
import { Stat } from "./Stat";

const said = strings.bets;
/** Share of implausible markets above which prices are probably wrong, and show nothing about the model. */
const FEW_IMPLAUSIBLE = 0.05;
/** Games below which nothing is judged. */
const FEW_GAMES = 100;
const MOST_LISTED = 1000;
const DIFFERENCES = [0, 0.02, 0.05, 0.1];

function share(value: number, digits = 1): string {
  return `${signed(100 * value, digits)} %`;
}

function Returns(props: { market: MarketRecordJson }) {
  const market = () => props.market;
  const roi = () => ({ value: market().roi, lower: market().roiLower, upper: market().roiUpper });
  const followed = () => num(market().closingLineBets);
  return (
    <>
      <Stat name={said.roi} value={figure(roi(), 1, share)} notes={[said.roiNote(share(num(market().profit)), percent(num(market().staked), 1))]} />
      <Stat
        name={said.closingLine}
        value={figure(market().closingLineValue, 1, share)}
        notes={[market().closingLineValue ? said.closingLineNote(followed()) : said.noClosingLine(followed(), num(market().bets))]}
      />
      <Stat name={said.drawdown} value={percent(num(market().maxDrawdown), 1)} notes={[said.bankroll(share(num(market().totalReturn)))]} />
    </>
  );
}

function Beside(props: { market: MarketRecordJson }) {
  const market = () => props.market;
  const against = () =>
    num(market().implausibleMarkets) > FEW_IMPLAUSIBLE * num(market().scoredMarkets)
      ? said.implausible(num(market().implausibleMarkets))
      : strings.record.against(figure(market().brierDifference, 3, signed));
  return (
    <>
      <Stat
        name={said.distance}
        value={figure(market().rmsDifference, 1, (value) => fixed(100 * value, 1))}
        notes={[said.distanceNote(num(market().scoredMarkets), num(market().scoredGames))]}
      />
      <Stat name={said.brier} value={figure(market().modelBrier, 3)} notes={[`${said.ofMarket}: ${figure(market().marketBrier, 3)}`, against()]} />
    </>
  );
}

function Curve(props: { bets: readonly PlacedBetJson[]; all: number; closing: boolean; filter: Filter }) {
  const after = createMemo(() => sums(props.bets));
  const table = () => ({
    columns: said.columns,
    rows: props.bets
      .map((bet, place) => [
        bet.gameDate ?? "",
        bet.homeTeam ? `${bet.awayTeam} @ ${bet.homeTeam}` : (bet.gameId ?? ""),
        afterOrAt(num(bet.elapsedSeconds) / 60),
        betName(bet, props.filter.horizon),
        num(bet.decimalOdds).toFixed(2),
        percent(num(bet.winProbability), 1),
        percent(num(bet.fairProbability), 1),
        percent(num(bet.stake), 2),
        said.result(num(bet.profit)),
        share(num(bet.profit), 2),
        share(after()[place]?.profit ?? 0, 2),
        bet.closingLineValue === undefined ? "–" : share(num(bet.closingLineValue)),
      ])
      .reverse(),
  });
  const legend = () => [["forecast", said.returned], ...(props.closing ? [["worse", said.atClosing] as const] : [])] as const;
  const caption = () => said.curveCaption(props.closing) + (props.bets.length < props.all ? said.cut(props.bets.length, props.all) : "");
  return (
    <Figure title={said.curve} caption={caption()} table={table} aside={<Legend entries={legend()} />}>
      <Chart label={said.curve} size="small" data={returnData(after(), props.closing)} options={returnOptions} />
    </Figure>
  );
}

export function Bets(props: { filter: Filter }) {
  const [part, setPart] = createSignal("all");
  const [least, setLeast] = createSignal("0");
  const parts = () => PARTS[props.filter.horizon];
  const shownPart = () => (parts()[part()] ? part() : "all");
  const asked = createMemo(() => ({ filter: props.filter, part: shownPart(), least: Number(least()) }));
  const answer = createLoaded(asked, async (chosen) => {
    const query = { ...conditions(chosen.filter), ...PARTS[chosen.filter.horizon][chosen.part], minDifference: chosen.least, maxBets: MOST_LISTED };
    return { filter: chosen.filter, narrowed: chosen.part !== "all" || chosen.least > 0, market: (await api.scorecard(query)).scorecard?.market };
  });
  return (
    <>
      <section class="card">
        <h2>{said.title}</h2>
        <div class="row form-row">
          <Select label={said.part} value={shownPart()} options={Object.keys(parts()).map((one) => [one, said.parts[one] ?? one] as const)} onChange={setPart} />
          <Select label={said.least} value={least()} options={DIFFERENCES.map((one) => [`${one}`, said.points(Math.round(100 * one))] as const)} onChange={setLeast} />
        </div>
        <Show when={!answer.error() && answer.value()} fallback={<Pending error={answer.error()} retry={() => void answer.reload()} />}>
          {(found) => (
            <Show when={found().market} fallback={<p class="pending">{said.none}</p>}>
              {(market) => (
                <>
                  <p class="sub">{said.counts(num(market().bets), num(market().markets), num(market().games), num(market().capped))}</p>
                  <dl class="stats">
                    <Show when={num(market().scoredMarkets)}>
                      <Beside market={market()} />
                    </Show>
                    <Show when={num(market().bets)}>
                      <Returns market={market()} />
                    </Show>
                  </dl>
                  <p class="sub">
                    {num(market().scoredGames) < FEW_GAMES ? said.few : num(market().bets) && num(market().games) < FEW_GAMES ? said.fewWithBets : ""}{" "}
                    {found().narrowed ? said.narrowed : ""} {said.notice(market().notice ?? "")}
                  </p>
                </>
              )}
            </Show>
          )}
        </Show>
      </section>
      <Show when={!answer.error() && answer.value()}>
        {(found) => (
          <Show when={found().market?.placed?.length}>
            <Curve
              bets={found().market?.placed ?? []}
              all={num(found().market?.bets)}
              closing={found().market?.closingLineValue !== undefined}
              filter={found().filter}
            />
          </Show>
        )}
      </Show>
    </>
  );
}

/** A course of the score, typed or drawn, and its forecast, which follows every change. Nothing is recorded. */
import { createEffect, createSignal, For, onCleanup, Show } from "solid-js";
import { api, ApiError } from "../api/client";
import { forecast as toForecast, quote } from "../api/convert";
import { Field, HorizonChoice, Segmented, TeamSelect } from "../components/Choices";
import { DejaVu } from "../components/DejaVu";
import { PageHead } from "../components/Frame";
import { MarketTable } from "../components/MarketBeside";
import { PatternEditor } from "../components/PatternEditor";
import { Stat } from "../components/Stat";
import { Words } from "../components/Words";
import { expected, fixed, lead, percent } from "../model/format";
import { LEVELS } from "../model/fan";
import { parse, write } from "../model/pattern";
import { ALPHAS, askedFor, fits, lineOf, POINTS, priceOf, type Alpha } from "../model/whatIf";
import { MINUTE_OF, type Forecast, type Horizon, type Quote } from "../model/types";
import { query, setQuery } from "../router";
import { teamStyle } from "../model/teams";
import { strings } from "../strings";

const said = strings.whatIf;
const EXAMPLE = [0, 2, -1, -3, -2, 0, 1, 3, 4, 4, 6, 7, 5, 5, 8, 9, 7, 6];
/** Minimum time between two requests while somebody draws. */
const PAUSE_MS = 120;
/** Time without a change after which the address follows. */
const ADDRESS_MS = 500;
const QUANTILE_LEVELS = LEVELS.flatMap((level) => [(1 - level) / 2, (1 + level) / 2]).map((level) => Number(level.toFixed(4)));

export default function WhatIf() {
  const asked = askedFor(query);
  const first = asked.pattern ?? EXAMPLE;
  const [pattern, setPattern] = createSignal<number[]>(first);
  const [text, setText] = createSignal(write(first));
  const [home, setHome] = createSignal(asked.home);
  const [away, setAway] = createSignal(asked.away);
  const [horizon, setHorizon] = createSignal<Horizon>(asked.horizon);
  const [points, setPoints] = createSignal(asked.points);
  const [line, setLine] = createSignal(asked.line);
  const [homePrice, setHomePrice] = createSignal(asked.homePrice);
  const [awayPrice, setAwayPrice] = createSignal(asked.awayPrice);
  const [date, setDate] = createSignal(asked.date);
  const [alpha, setAlpha] = createSignal<Alpha>(asked.alpha);
  const expectedLead = () => lineOf(line(), home(), away());
  // The address shows what is asked, so that it can be sent to others; browsers limit how often it may change.
  createEffect(() => {
    const changes = {
      pattern: pattern() === EXAMPLE ? undefined : pattern().join(","),
      home: home() || undefined,
      away: away() || undefined,
      horizon: horizon() === "half" ? "half" : undefined,
      alpha: alpha() === "0.05" ? undefined : alpha(),
      points: POINTS.test(points()) ? points() : undefined,
      line: expectedLead() === undefined ? undefined : line(),
      homePrice: priceOf(homePrice()) && homePrice(),
      awayPrice: priceOf(awayPrice()) && awayPrice(),
      date: date() || undefined,
    };
    const timer = setTimeout(() => setQuery(changes, { replace: true }), ADDRESS_MS);
    onCleanup(() => clearTimeout(timer));
  });
  /** The forecast and the market, with the teams of the request: other teams may be chosen by now. */
  const [answer, setAnswer] = createSignal<{ forecast: Forecast; quotes: Quote[]; home: string; away: string }>();
  const [refusal, setRefusal] = createSignal("");
  const most = () => MINUTE_OF[horizon()] - 1;
  const homeName = () => home() || strings.homeName;
  const awayName = () => away() || strings.awayName;

  const take = (next: number[]) => {
    setPattern(next);
    setText(write(next));
  };
  const typed = (value: string) => {
    setText(value);
    const parsed = parse(value);
    if ("pattern" in parsed) setPattern(parsed.pattern);
  };
  const problem = (): string => {
    const parsed = parse(text());
    if ("problem" in parsed) return said.notANumber(parsed.problem.index + 1, parsed.problem.text);
    if (!pattern().length) return said.tooShort;
    if (pattern().length > most()) return said.tooLong(strings.horizon[horizon()] ?? "", most());
    if (!home() !== !away()) return said.oneTeam;
    if (home() && home() === away()) return said.sameTeam;
    return "";
  };

  /** The lead changes with every minute that is drawn: points that no longer fit it are left out, and that is said. */
  const unfit = () => points() !== "" && !fits(points(), pattern().at(-1) ?? 0);

  const prices = () => [priceOf(homePrice()), priceOf(awayPrice())];
  const unfitPrices = () => homePrice() + awayPrice() !== "" && !prices().every(Boolean);
  const unfitLine = () => line() !== "" && expectedLead() === undefined;

  const unfitNote = () =>
    [
      unfit() && said.pointsUnfit(lead(pattern().at(-1) ?? 0, homeName(), awayName(), 0)),
      unfitLine() && `${said.lineUnfit} ${said.lineHint(homeName(), awayName())}`,
      unfitPrices() && said.pricesUnfit,
    ].filter(Boolean).join(" ");

  let pending: AbortController | undefined;
  const ask = async (request: Parameters<typeof api.predict>[0]) => {
    pending?.abort();
    const mine = new AbortController();
    pending = mine;
    try {
      const { forecast, markets = [] } = await api.predict(request, mine.signal);
      if (pending !== mine) return;
      setAnswer(forecast && { forecast: toForecast(forecast), quotes: (request.markets ?? []).map((market, place) => quote({ market, answer: markets[place] ?? {} })), home: request.homeTeam ?? "", away: request.awayTeam ?? "" });
      setRefusal("");
    } catch (error) {
      if (mine.signal.aborted) return;
      setAnswer(undefined);
      setRefusal(error instanceof ApiError ? refusalText(error) : strings.failed);
    }
  };
  createEffect(() => {
    if (problem()) return;
    const [above, below] = prices();
    const request = {
      pattern: pattern(),
      alpha: Number(alpha()),
      horizon: horizon() === "final" ? ("HORIZON_FINAL" as const) : ("HORIZON_HALFTIME" as const),
      homeTeam: home(),
      awayTeam: away(),
      quantileLevels: QUANTILE_LEVELS,
      returnExplanation: true,
      ...(expectedLead() !== undefined && { pregameMargin: expectedLead() as number }),
      ...(date() && { gameDate: date() }),
      ...(above && below && { markets: [{ kind: "MARKET_KIND_LEAD" as const, above, below }] }),
      ...(fits(points(), pattern().at(-1) ?? 0) && { totalPoints: Number(points()) }),
    };
    const timer = setTimeout(() => void ask(request), PAUSE_MS);
    onCleanup(() => clearTimeout(timer));
  });
  onCleanup(() => pending?.abort());

  const shown = () => (problem() ? undefined : answer()?.forecast);
  const course = () => pattern().slice(0, shown()?.minute).map((points, place) => ({ minute: place + 1, lead: points }));
  const answeredHome = () => answer()?.home || strings.homeName;
  const answeredAway = () => answer()?.away || strings.awayName;
  const name = (value: number) => lead(value, answeredHome(), answeredAway());
  return (
    <>
      <PageHead title={strings.pages["/what-if"]} intro={<Words text={said.intro} />} />
      <div class="stack teams" style={teamStyle(answeredHome(), answeredAway())}>
        <section class="card">
          <div class="row form-row">
            <HorizonChoice label={strings.record.horizon} value={horizon()} onChange={setHorizon} />
            <Segmented label={said.level} value={alpha()} options={Object.entries(ALPHAS) as [Alpha, string][]} onChange={setAlpha} />
            <TeamSelect label={said.away} none={said.noTeam} value={away()} onChange={setAway} />
            <TeamSelect label={said.home} none={said.noTeam} value={home()} onChange={setHome} />
            <Entry label={said.points} value={points()} mode="numeric" most={3} unfit={unfit()} onChange={setPoints} />
            <Entry label={said.line} value={line()} most={10} unfit={unfitLine()} hint={said.lineHint(homeName(), awayName())} onChange={setLine} />
            <Entry label={said.price(awayName())} value={awayPrice()} most={7} unfit={unfitPrices()} hint={said.priceHint} onChange={setAwayPrice} />
            <Entry label={said.price(homeName())} value={homePrice()} most={7} unfit={unfitPrices()} hint={said.priceHint} onChange={setHomePrice} />
            <Field label={said.date}>
              <input class="points" type="date" value={date()} onChange={(event) => setDate(event.currentTarget.value)} />
            </Field>
          </div>
          <p id="form-note" classList={{ sub: !unfitNote(), invalid: unfitNote() !== "" }} role="status">
            {unfitNote() || (expectedLead() !== undefined && `${strings.game.expected}: ${expected(expectedLead() as number, homeName(), awayName())}.`)}
          </p>
        </section>
        <section class="card" aria-live="polite">
          <h2 class="visually-hidden">{said.answer}</h2>
          <Show when={shown()} fallback={<p class="pending">{said.waiting}</p>}>
            {(forecast) => (
              <dl class="stats">
                <Stat
                  name={strings.atHorizon[forecast().horizon] ?? ""}
                  value={name(forecast().point)}
                  notes={[strings.tonight.interval(percent(1 - forecast().alpha), name(forecast().lower), name(forecast().upper))]}
                  answer="point"
                />
                <Stat name={said.wins[forecast().horizon]?.(answeredHome()) ?? ""} value={percent(forecast().probability)} answer="probability" />
                <Show when={forecast().total}>
                  {(total) => (
                    <Stat
                      name={said.total[forecast().horizon] ?? ""}
                      value={fixed(total().point)}
                      notes={[strings.tonight.interval(percent(1 - forecast().alpha), `${total().lower}`, `${total().upper}`)]}
                      answer="total"
                    />
                  )}
                </Show>
                <Show when={forecast().expectedMargin !== undefined}>
                  <Stat name={strings.game.expected} value={expected(forecast().expectedMargin ?? 0, answeredHome(), answeredAway())} />
                </Show>
              </dl>
            )}
          </Show>
          <For each={shown()?.warnings ?? []}>{(warning) => <p class="warning">{warning}</p>}</For>
        </section>
        <Show when={shown() && answer()?.quotes.length ? answer() : undefined}>
          {(one) => (
            <section class="card market">
              <h2>{strings.market.title}</h2>
              <MarketTable forecast={one().forecast} quotes={one().quotes} worth />
              <p class="sub">{said.worth}</p>
            </section>
          )}
        </Show>
        <section class="card">
          <PatternEditor pattern={pattern()} forecast={shown()} most={most()} home={homeName()} away={awayName()} onChange={take} />
          <p class="sub caption">{said.draw}</p>
          <Field label={said.pattern}>
            <textarea
              value={text()}
              inputmode="text"
              spellcheck={false}
              aria-invalid={problem() !== ""}
              aria-describedby="pattern-hint pattern-problem"
              onInput={(event) => typed(event.currentTarget.value)}
            />
          </Field>
          <p id="pattern-hint" class="sub">
            {said.patternHint}
          </p>
          <p id="pattern-problem" class="invalid" role="alert">
            {problem() || refusal()}
          </p>
          <div class="row form-row">
            <button type="button" onClick={() => take(EXAMPLE)}>
              {said.reset}
            </button>
            <button type="button" onClick={() => take([])}>
              {said.clear}
            </button>
          </div>
        </section>
        <Show when={shown()?.similar.length ? shown() : undefined}>
          {(forecast) => <DejaVu title={strings.dejavu.drawn} forecast={forecast()} played={course()} home={answeredHome()} away={answeredAway()} />}
        </Show>
      </div>
    </>
  );
}

/** Something that need not be filled in. */
function Entry(props: { label: string; value: string; mode?: "numeric"; most: number; unfit: boolean; hint?: string; onChange: (text: string) => void }) {
  return (
    <Field label={props.label}>
      <input
        class="points"
        inputmode={props.mode}
        maxlength={props.most}
        placeholder={said.pointsUnknown}
        title={props.hint}
        value={props.value}
        aria-invalid={props.unfit}
        aria-describedby="form-note"
        onInput={(event) => props.onChange(event.currentTarget.value.trim())}
      />
    </Field>
  );
}

function refusalText(error: ApiError): string {
  const fields = error.fields.map((field) => `${field.field}: ${field.description}`);
  return fields.length ? fields.join("; ") : error.message || strings.failed;
}

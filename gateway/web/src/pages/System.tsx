/** Whether everything works: server, stream, ledger, feed, clock and models. */
import { For, onCleanup, Show } from "solid-js";
import { api, type GatewayStatus } from "../api/client";
import { num } from "../api/convert";
import { Table } from "../components/Figure";
import { PageHead, Pending } from "../components/Frame";
import { Facts, type Fact } from "../components/Stat";
import { exact, span } from "../model/format";
import { hasStore } from "../model/models";
import { followed } from "../model/phase";
import { methodRows, stateRows } from "../model/stats";
import { tonight } from "../state/board";
import { now, offset } from "../state/clock";
import { connection, status } from "../state/live";
import { createLoaded } from "../state/load";
import { problemOf, problems, quietFor, silentFor, states } from "../state/problems";
import { strings } from "../strings";

const said = strings.system;
const CLOCK_GOOD_MS = 2000;
const REFRESH_MS = 5000;

function ledgerText(state: GatewayStatus): string {
  if (!state.serving) return said.unknown;
  return state.ledger.ok ? said.ledgerOk : `${said.ledgerBroken} ${state.ledger.message}`;
}

function feedText(): string {
  const read = followed(states(), now()).map((one) => one.observed);
  return read.length ? said.feedRead(span(now() - Math.max(...read))) : said.feedIdle;
}

function checks(): Fact[] {
  const state = status();
  const quiet = quietFor();
  const skew = offset();
  const open = connection() === "open";
  const list: Fact[] = [{ name: said.page, good: open, text: open ? said.connected : (strings.connection[connection()] ?? "") }];
  if (state) {
    const newest = state.newestEventTime ? said.ago(exact(Date.parse(state.newestEventTime)), span(now() - Date.parse(state.newestEventTime))) : said.never;
    list.push(
      { name: said.server, good: state.serving, text: `${state.serving ? said.serving : said.notServing} ${said.since(exact(Date.parse(state.since)))}` },
      { name: said.stream, good: state.streaming, text: state.streaming ? said.streaming : said.notStreaming },
      { name: said.ledger, good: state.ledger.ok, text: ledgerText(state) },
      { name: said.newest, good: true, text: newest },
    );
  }
  // Which games are in play is not known before the board is there.
  if (tonight()) {
    const gone = state?.serving === false;
    const silent = silentFor();
    const told = () => (quiet === undefined ? feedText() : said.feedQuiet(span(quiet)));
    const text = gone ? said.unknown : silent ? problemOf(silent.part).title : told();
    list.push({ name: said.feed, good: quiet === undefined && !silent && !gone, text });
  }
  if (skew !== undefined) {
    const good = Math.abs(skew) <= CLOCK_GOOD_MS;
    list.push({ name: said.clock, good, text: good ? said.clockGood(span(CLOCK_GOOD_MS)) : said.clockOff(span(Math.abs(skew))) });
  }
  return list;
}

function Models() {
  const models = createLoaded(() => true, () => api.models());
  return (
    <section class="card">
      <h2>{strings.models.title}</h2>
      <p>
        <a href="/models">{strings.models.link}</a>
      </p>
      <Show when={models.value()} fallback={<Pending error={models.error()} retry={() => void models.reload()} />}>
        {(ready) => (
          <For each={(ready().models ?? []).filter((model) => model.loaded || !hasStore([model]))}>
            {(model) => (
              <dl class="model">
                <dt>
                  <code>{model.version}</code> {[model.active ? said.active : "", said.fit[model.verdict ?? ""] ?? ""].filter(Boolean).join(" · ")}
                </dt>
                <dd class="sub">{said.trained(num(model.trainGames).toLocaleString(), seasons(model.trainSeasons ?? []))}</dd>
                <dd class="sub">{said.calibrated(num(model.calibrationGames).toLocaleString(), seasons(model.calibrationSeasons ?? []))}</dd>
                <Show when={model.ratingsDate}>{(date) => <dd class="sub">{said.ratings(date(), num(model.finalsSince))}</dd>}</Show>
                <For each={model.warnings ?? []}>{(warning) => <dd class="warning">{warning.text}</dd>}</For>
              </dl>
            )}
          </For>
        )}
      </Show>
    </section>
  );
}

/** A name in which a narrow column may break before a capital letter. */
function breakable(name: string): string {
  return name.replace(/(?=[A-Z])/g, "\u200b");
}

function seasons(years: readonly number[]): string {
  const first = Math.min(...years);
  const last = Math.max(...years);
  return first === last ? `${first}` : `${first}–${last}`;
}

function Stats() {
  const stats = createLoaded(() => true, () => api.stats());
  const timer = setInterval(() => void stats.reload(), REFRESH_MS);
  onCleanup(() => clearInterval(timer));
  return (
    <section class="card whole">
      <h2>{said.stats.title}</h2>
      <Show when={stats.value()} fallback={<Pending error={stats.error()} retry={() => void stats.reload()} />}>
        {(ready) => (
          <>
            <Table data={{ columns: said.columns, rows: stateRows(ready()) }} caption={said.stats.title} />
            <h3>{said.stats.calls}</h3>
            <Table data={{ columns: said.stats.columns, rows: methodRows(ready()).map(([name, ...figures]) => [breakable(name), ...figures]) }} caption={said.stats.calls} />
          </>
        )}
      </Show>
    </section>
  );
}

export default function System() {
  return (
    <>
      <PageHead title={strings.pages["/system"]} />
      <div class="stack">
        <section class="card">
          <h2>{problems().length || !status() || !tonight() ? said.overall : said.good}</h2>
          <Facts facts={checks()} />
        </section>
        <Models />
        <Stats />
        <p class="sub page-foot">
          <a href="/docs">{said.interface}</a>
        </p>
      </div>
    </>
  );
}

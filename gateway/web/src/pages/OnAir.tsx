/** Builds the address of an overlay, with a preview over a picture. The choices stand in the address of this page too. */
import { createMemo, createSignal, createUniqueId, For, Show } from "solid-js";
import { api, ApiError } from "../api/client";
import { createWidth } from "../charts/theme";
import { Check, Field, Segmented, Select } from "../components/Choices";
import { Copy } from "../components/Command";
import { PageHead } from "../components/Frame";
import { FORMS, frameOf, isGameId, PARTS, PLACES, shownOf, type Form, type Part } from "../model/overlay";
import { here, query, setQuery } from "../router";
import { createClosest, gamesOn } from "../state/air";
import { game } from "../state/games";
import { createLoaded } from "../state/load";
import { strings } from "../strings";

const said = strings.onAir;
const FRAMES = [["1280x720", "1280 × 720"], ["1920x1080", "1920 × 1080"]] as const;
const PLACES_TO_CHOOSE = [["", said.usualPlace] as const, ...PLACES.map((one) => [one, one.replace("-", " ")] as const)];
const SIZES = ["75", "100", "125", "150"].map((size) => [size, `${size} %`] as const);

const set = (name: string, usual?: string) => (value: string) => setQuery({ [name]: value === usual ? undefined : value || undefined }, { replace: true });

export default function OnAir() {
  const what = () => query("game") ?? "closest";
  const shown = createMemo(() => shownOf(query("show")));
  const frame = createMemo(() => frameOf(query("frame")));
  const theme = () => (query("theme") === "light" ? "light" : "dark");
  const closest = createClosest();
  /** Lists of choices stay while scores change. */
  const games = createMemo(() => {
    const known = gamesOn().map((game) => [game.id, strings.game.title(game.away, game.home)] as const);
    const other = isGameId(what()) && !known.some(([id]) => id === what()) ? [[what(), what()] as const] : [];
    return [["closest", said.closest] as const, ["ticker", said.ticker] as const, ...known, ...other];
  }, undefined, { equals: (before, now) => `${before}` === `${now}` });
  /** A game that the page does not know may be one of an earlier evening. */
  const asked = createLoaded(() => (isGameId(what()) && !game(what()) ? what() : undefined), (id) => api.game(id));
  const problem = () => {
    if (what() === "closest" || what() === "ticker") return "";
    if (!isGameId(what())) return said.noId(what());
    const error = asked.error();
    return !game(what()) && error instanceof ApiError && error.status === 404 ? said.unknown(what()) : "";
  };
  const ofGame = () => what() !== "ticker";
  const hasParts = () => ofGame() && (shown().form === "third" || shown().form === "bug");
  const show = (form: Form, parts: readonly Part[]) => set("show")([form, ...(parts.length ? parts : ["score"])].join(","));
  const [behind, setBehind] = createSignal<string>(said.grounds[0][0]);
  /** The address of this page without its game is the query of the overlay; the preview is not late. */
  const address = (preview = false) => {
    const one = new URL(isGameId(what()) ? `/overlay/game/${what()}` : ofGame() ? "/overlay/closest" : "/overlay/ticker", location.origin);
    for (const [name, value] of here().searchParams) if (name !== "game" && !(preview && name === "delay")) one.searchParams.set(name, value);
    return one.href.replaceAll("%2C", ",");
  };
  const board = () => {
    const one = new URL("/board", location.origin);
    for (const name of ["theme", "delay"]) if (query(name)) one.searchParams.set(name, query(name) ?? "");
    return one.href;
  };
  let place!: HTMLDivElement;
  const width = createWidth(() => place);
  return (
    <>
      <PageHead title={strings.pages["/overlay"]} intro={said.intro} />
      <div class="stack">
        <section class="card row form-row">
          <Select label={said.what} value={what()} options={games()} onChange={set("game", "closest")} />
          <Show when={ofGame()}>
            <Segmented label={said.form} value={shown().form} options={FORMS.map((one) => [one, said.forms[one] ?? one] as const)} onChange={(form) => set("show", "third")(form)} />
          </Show>
          <Show when={hasParts()}>
            <fieldset class="field">
              <legend class="sub">{said.parts}</legend>
              <For each={PARTS}>
                {(part) => (
                  <Check
                    label={said.part[part] ?? part}
                    checked={shown().parts.includes(part)}
                    onChange={(on) => show(shown().form, PARTS.filter((one) => (one === part ? on : shown().parts.includes(one))))}
                  />
                )}
              </For>
            </fieldset>
          </Show>
          <Segmented label={said.theme} value={theme()} options={said.themes} onChange={set("theme", "dark")} />
          <Select label={said.place} value={query("place") ?? ""} options={PLACES_TO_CHOOSE} onChange={set("place")} />
          <Segmented label={said.size} value={query("size") ?? "100"} options={SIZES} onChange={set("size", "100")} />
          <Field label={said.delay}>
            <input class="points" type="number" min="0" max="600" value={query("delay") ?? ""} onChange={(event) => set("delay", "0")(event.currentTarget.value)} />
          </Field>
          <Segmented label={said.frame} value={`${frame().width}x${frame().height}`} options={FRAMES} onChange={set("frame", "1920x1080")} />
          <Segmented label={said.behind} value={behind()} options={said.grounds} onChange={setBehind} />
        </section>
        <Show when={problem()}>{(text) => <p class="problem" role="alert">{text()}</p>}</Show>
        <Address label={said.url} url={address()} />
        <div ref={place} class="preview" data-behind={behind()} style={{ "aspect-ratio": `${frame().width} / ${frame().height}` }}>
          <iframe title={said.preview} src={address(true)} width={frame().width} height={frame().height} style={{ transform: `scale(${width() / frame().width})` }} />
        </div>
        <Show when={what() === "closest" ? !closest() : !gamesOn().length}>
          <p class="sub">{said.waiting}</p>
        </Show>
        <Address label={said.boardUrl} url={board()} />
      </div>
    </>
  );
}

function Address(props: { label: string; url: string }) {
  const name = createUniqueId();
  return (
    <section class="card">
      <label class="sub" for={name}>
        {props.label}
      </label>
      <div class="row apart command">
        <input id={name} class="address" readonly value={props.url} onFocus={(event) => event.currentTarget.select()} />
        <a href={props.url} target="_blank" rel="noopener">
          {said.open}
        </a>
        <Copy copy={(to) => to.writeText(props.url)} />
      </div>
    </section>
  );
}

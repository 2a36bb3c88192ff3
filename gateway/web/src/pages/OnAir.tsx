/** Builds the address of an overlay, with a preview over a picture. The choices stand in the address of this page too. */
import { createMemo, createSignal, createUniqueId, For, Show } from "solid-js";
import { createWidth } from "../charts/theme";
import { Check, Field, Segmented, Select } from "../components/Choices";
import { Copy } from "../components/Command";
import { PageHead } from "../components/Frame";
import { FORMS, frameOf, PARTS, PLACES, shownOf, type Form, type Part } from "../model/overlay";
import { here, query, setQuery } from "../router";
import { createClosest, gamesOn } from "../state/air";
import { game as known } from "../state/games";
import { strings } from "../strings";

const said = strings.onAir;
const FRAMES = [["1280x720", "1280 × 720"], ["1920x1080", "1920 × 1080"]] as const;
const PLACES_TO_CHOOSE = [["", said.usualPlace] as const, ...PLACES.map((one) => [one, said.places[one] ?? one] as const)];
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
    const listed = gamesOn().map((game) => [game.id, strings.game.title(game.away, game.home)] as const);
    const chosen = [["closest", said.closest] as const, ["ticker", said.ticker] as const, ...listed];
    return chosen.some(([id]) => id === what()) ? chosen : [...chosen, [what(), what()] as const];
  }, undefined, { equals: (before, now) => `${before}` === `${now}` });
  const ofGame = () => what() !== "ticker";
  const hasParts = () => ofGame() && (shown().form === "third" || shown().form === "bug");
  const show = (form: Form, parts: readonly Part[]) => set("show")([form, ...(parts.length ? parts : ["score"])].join(","));
  const [behind, setBehind] = createSignal<string>(said.grounds[0][0]);
  /** The address of this page without its game is the query of the overlay; the preview is not late. */
  const address = (preview = false) => {
    const one = new URL(/^[a-z]+$/.test(what()) ? `/overlay/${what()}` : `/overlay/game/${what()}`, location.origin);
    for (const [name, value] of here().searchParams) if (name !== "game" && !(preview && name === "delay")) one.searchParams.set(name, value);
    return one.href.replaceAll("%2C", ",");
  };
  const board = () => {
    const one = new URL("/board", location.origin);
    for (const name of ["theme", "delay"]) if (query(name)) one.searchParams.set(name, query(name) ?? "");
    return one.href;
  };
  /** Why nothing is on the air: viewers see an empty frame, and only this page says so. */
  const empty = () => {
    if (what() === "closest" ? closest() : what() === "ticker" ? gamesOn().length : known(what())) return "";
    return what() === "closest" || what() === "ticker" ? said.waiting : said.unknown;
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
        <Address label={said.url} url={address()} />
        <div ref={place} class="preview" data-behind={behind()} style={{ "aspect-ratio": `${frame().width} / ${frame().height}` }}>
          <iframe title={said.preview} src={address(true)} width={frame().width} height={frame().height} style={{ transform: `scale(${width() / frame().width})` }} />
        </div>
        <Show when={empty()}>{(why) => <p class="sub">{why()}</p>}</Show>
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

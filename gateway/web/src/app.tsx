/** Paths of the pages. All pages except the board are loaded when the first of them is opened. */
import { createEffect, createMemo, createSignal, Show } from "solid-js";
import { Dynamic } from "solid-js/web";
import { Frame } from "./components/Frame";
import Tonight from "./pages/Tonight";
import { here } from "./router";
import { strings } from "./strings";

type Rest = typeof import("./pages/rest");

const PAGES: Record<string, "Help" | "Models" | "OnAir" | "Record" | "System" | "WhatIf"> = {
  "/record": "Record",
  "/what-if": "WhatIf",
  "/models": "Models",
  "/system": "System",
  "/overlay": "OnAir",
  "/help": "Help",
};

function idIn(folder: string): string | undefined {
  return new RegExp(`^/${folder}/([0-9]{10})/?$`).exec(here().pathname)?.[1];
}

export function App() {
  const path = () => here().pathname.replace(/\/+$/, "") || "/";
  const [rest, setRest] = createSignal<Rest>();
  const [failed, setFailed] = createSignal(false);
  createEffect(() => {
    if (path() === "/" || rest()) return;
    import("./pages/rest").then((pages) => setRest(() => pages)).catch(() => setFailed(true));
  });
  const Page = (props: { rest: Rest }) => (
    <Show when={idIn("game")} keyed fallback={<Dynamic component={props.rest[PAGES[path()] ?? "NotFound"]} />}>
      {(id) => <props.rest.Game id={id} />}
    </Show>
  );
  /** A page without the frame, for other pages and broadcasts. */
  const alone = createMemo(() => {
    const [embed, overlay] = [idIn("embed/game"), idIn("overlay/game") ?? /^\/overlay\/(closest|ticker)$/.exec(path())?.[1]];
    if (path() === "/board") return { page: "Board" as const, id: "" };
    return embed ? { page: "Embed" as const, id: embed } : overlay ? { page: "Overlay" as const, id: overlay } : undefined;
  });
  const pending = () => <p class="pending">{failed() ? strings.failed : strings.loading}</p>;
  return (
    <Show
      when={alone()}
      keyed
      fallback={
        <Frame>
          <Show when={path() !== "/"} fallback={<Tonight />}>
            <Show when={rest()} fallback={pending()}>
              {(pages) => <Page rest={pages()} />}
            </Show>
          </Show>
        </Frame>
      }
    >
      {(one) => (
        <Show when={rest()} fallback={<main>{one.page === "Embed" && pending()}</main>}>
          {(pages) => {
            const { Board, Embed, Overlay } = pages();
            return one.page === "Board" ? <Board /> : one.page === "Embed" ? <Embed id={one.id} /> : <Overlay what={one.id} />;
          }}
        </Show>
      )}
    </Show>
  );
}

/** Paths of the pages. All pages except the board are loaded when the first of them is opened. */
import { createEffect, createMemo, createSignal, Match, Show, Switch, type JSX } from "solid-js";
import { Frame } from "./components/Frame";
import Tonight from "./pages/Tonight";
import { here } from "./router";
import { strings } from "./strings";

type Rest = typeof import("./pages/rest");

const PAGES: Record<string, (rest: Rest) => JSX.Element> = {
  "/board": ({ Board }) => <Board />,
  "/record": ({ Record }) => <Record />,
  "/what-if": ({ WhatIf }) => <WhatIf />,
  "/models": ({ Models }) => <Models />,
  "/system": ({ System }) => <System />,
  "/overlay": ({ OnAir }) => <OnAir />,
  "/help": ({ Help }) => <Help />,
};
const missing = ({ NotFound }: Rest) => <NotFound />;

function idIn(folder: string): string | undefined {
  return new RegExp(`^/${folder}/([0-9]{10})/?$`).exec(here().pathname)?.[1];
}

export function App() {
  // A memo: another query of the same path must not make the page anew.
  const path = createMemo(() => here().pathname.replace(/\/+$/, "") || "/");
  const [rest, setRest] = createSignal<Rest>();
  const [failed, setFailed] = createSignal(false);
  createEffect(() => {
    if (path() === "/" || rest()) return;
    import("./pages/rest").then((pages) => setRest(() => pages)).catch(() => setFailed(true));
  });
  const overlay = () => /^\/overlay\/(?:game\/)?(.+)$/.exec(path())?.[1];
  /** Whether a page is without the frame, for other pages, broadcasts and televisions. */
  const alone = createMemo(() => Boolean(path() === "/board" || idIn("embed/game") || overlay()));
  const Page = (props: { rest: Rest }) => {
    const { Embed, Game, Overlay } = props.rest;
    return (
      <Switch fallback={(PAGES[path()] ?? missing)(props.rest)}>
        <Match when={idIn("game")} keyed>
          {(id) => <Game id={id} />}
        </Match>
        <Match when={idIn("embed/game")} keyed>
          {(id) => <Embed id={id} />}
        </Match>
        <Match when={overlay()} keyed>
          {(what) => <Overlay what={what} />}
        </Match>
      </Switch>
    );
  };
  /** On the air nothing is said while it loads. */
  const pending = () => <Show when={!alone() || idIn("embed/game")}>{<p class="pending">{failed() ? strings.failed : strings.loading}</p>}</Show>;
  const Content = () => (
    <Show when={path() !== "/"} fallback={<Tonight />}>
      <Show when={rest()} fallback={pending()}>
        {(pages) => <Page rest={pages()} />}
      </Show>
    </Show>
  );
  return (
    <Show when={alone()} fallback={<Frame children={<Content />} />}>
      <Content />
    </Show>
  );
}

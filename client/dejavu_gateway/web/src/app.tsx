/** Paths of the pages. All pages except the board are loaded when the first of them is opened. */
import { createEffect, createSignal, Match, Show, Switch } from "solid-js";
import { Frame } from "./components/Frame";
import Tonight from "./pages/Tonight";
import { here } from "./router";
import { strings } from "./strings";

type Rest = typeof import("./pages/rest");

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
  const Pages = (props: { rest: Rest }) => {
    const { Game, Record, WhatIf, Models, System, NotFound } = props.rest;
    return (
      <Switch fallback={<NotFound />}>
        <Match when={idIn("game")} keyed>
          {(id) => <Game id={id} />}
        </Match>
        <Match when={path() === "/record"}>
          <Record />
        </Match>
        <Match when={path() === "/what-if"}>
          <WhatIf />
        </Match>
        <Match when={path() === "/models"}>
          <Models />
        </Match>
        <Match when={path() === "/system"}>
          <System />
        </Match>
      </Switch>
    );
  };
  const pending = () => <p class="pending">{failed() ? strings.failed : strings.loading}</p>;
  return (
    <Show
      when={idIn("embed/game")}
      keyed
      fallback={
        <Frame>
          <Show when={path() !== "/"} fallback={<Tonight />}>
            <Show when={rest()} fallback={pending()}>
              {(pages) => <Pages rest={pages()} />}
            </Show>
          </Show>
        </Frame>
      }
    >
      {(id) => (
        <Show when={rest()} fallback={<main>{pending()}</main>}>
          {(pages) => {
            const { Embed } = pages();
            return <Embed id={id} />;
          }}
        </Show>
      )}
    </Show>
  );
}

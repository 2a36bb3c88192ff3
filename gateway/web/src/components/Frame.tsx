/** Common frame of all pages: navigation, theme, state of the connection, and problems in words. */
import { createEffect, For, Show, type JSX } from "solid-js";
import { here } from "../router";
import { reaches, status } from "../state/live";
import { problemOf, problems, source } from "../state/problems";
import { theme, toggleTheme } from "../state/theme";
import { strings } from "../strings";

export function Problems() {
  return (
    <div role="status" aria-live="polite" aria-label={strings.problems.label} class="problems">
      <For each={problems()}>
        {(problem) => (
          <p class="problem" data-problem={problem.key}>
            <strong>{problem.title}</strong> {problem.detail}
          </p>
        )}
      </For>
    </div>
  );
}

function ThemeButton() {
  const label = () => (theme() === "dark" ? strings.theme.toLight : strings.theme.toDark);
  return (
    <button type="button" class="icon-button" aria-label={label()} title={label()} onClick={toggleTheme}>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="7" fill="none" stroke="currentColor" stroke-width="1.6" />
        <path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" />
      </svg>
    </button>
  );
}

/** The state of the whole path of new forecasts, in a word. */
function Connection() {
  const state = () => (reaches() === "live" && source() ? "broken" : reaches());
  const part = () => (reaches() === "live" ? source() : status()?.reason) ?? "";
  return (
    <span class="row sub connection" data-state={state()}>
      {state() === "broken" ? problemOf(part()).badge : strings.connection[state()]}
    </span>
  );
}

export function Frame(props: { children: JSX.Element }) {
  return (
    <>
      <a class="skip" href="#content">
        {strings.skip}
      </a>
      <header class="row site-header">
        <a class="brand" href="/">
          {strings.product}
        </a>
        <nav aria-label={strings.nav}>
          <For each={Object.entries(strings.pages)}>
            {([path, name]) => (
              <a href={path} aria-current={here().pathname === path ? "page" : path === "/record" && here().pathname === "/models" ? "true" : undefined}>
                {name}
              </a>
            )}
          </For>
        </nav>
        <Connection />
        <ThemeButton />
      </header>
      <Problems />
      <main id="content" tabindex="-1">
        {props.children}
      </main>
    </>
  );
}

/** A page's heading, which takes the focus when the page is opened, and the title of the window. */
export function Heading(props: { children: string; hidden?: boolean }) {
  createEffect(() => (document.title = strings.title(props.children)));
  return (
    <h1 tabindex="-1" classList={{ "visually-hidden": props.hidden ?? false }}>
      {props.children}
    </h1>
  );
}

/** Title and introduction of a page, with links or controls beside them. */
export function PageHead(props: { title: string; intro?: JSX.Element; children?: JSX.Element }) {
  return (
    <div class="row apart page-head">
      <div>
        <Heading>{props.title}</Heading>
        <Show when={props.intro}>{(intro) => <p class="intro">{intro()}</p>}</Show>
      </div>
      {props.children}
    </div>
  );
}

/** Placeholder of missing content: it is loading, there is none, or the reason of a failure. */
export function Pending(props: { error: unknown; retry: () => void; none?: string | undefined }) {
  return (
    <Show when={props.error} fallback={<p class="pending">{props.none ?? strings.loading}</p>}>
      <div class="pending" role="alert">
        <p>
          {strings.failed} {props.error instanceof Error ? props.error.message : ""}
        </p>
        <button type="button" onClick={() => props.retry()}>
          {strings.retry}
        </button>
      </div>
    </Show>
  );
}

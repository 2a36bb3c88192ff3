/** The viewer's location: path and query as signals; links are followed without loading the page again. */
import { createSignal } from "solid-js";

const [location_, setLocation] = createSignal(new URL(location.href));
export { location_ as here };

/** Goes to a path of this page. `replace`: without a step in the history, as for a scrubber. */
export function go(path: string, options: { replace?: boolean } = {}): void {
  const next = new URL(path, location.href);
  const samePage = next.pathname === location_().pathname;
  history[options.replace ? "replaceState" : "pushState"](null, "", next);
  setLocation(next);
  if (!samePage) {
    scrollTo(0, 0);
    // For a screen reader the new page begins at its heading.
    queueMicrotask(() => document.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true }));
  }
}

/** Sets or, with undefined, removes parameters of the query. */
export function setQuery(changes: Record<string, string | undefined>, options: { replace?: boolean } = {}): void {
  const next = new URL(location_());
  for (const [name, value] of Object.entries(changes))
    if (value === undefined) next.searchParams.delete(name);
    else next.searchParams.set(name, value);
  // A comma needs no escape in a query, and a course of the score reads better with it.
  go(next.pathname + next.search.replaceAll("%2C", ","), options);
}

export function query(name: string): string | undefined {
  return location_().searchParams.get(name) ?? undefined;
}

addEventListener("popstate", () => setLocation(new URL(location.href)));
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest<HTMLAnchorElement>("a[href]");
  if (!link || link.target || link.origin !== location.origin || /^\/(api|docs|share|metrics|openapi)/.test(link.pathname)) return;
  event.preventDefault();
  if (link.hash && link.pathname === location.pathname) document.querySelector<HTMLElement>(link.hash)?.focus();
  else go(link.pathname + link.search + link.hash);
});

/** Light or dark theme: the system's, unless the viewer chose one. Printouts are always light. */
import { createSignal } from "solid-js";

export type Theme = "light" | "dark";
const KEY = "dejavu-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen(): Theme | undefined {
  try {
    const stored = localStorage.getItem(KEY);
    return stored === "light" || stored === "dark" ? stored : undefined;
  } catch {
    return undefined; // storage may be forbidden, as in an embedded frame
  }
}

function current(): Theme {
  // On the air the address says it: the machine's own setting is nobody's choice.
  if (/^\/(overlay\/|board)/.test(location.pathname)) return new URL(location.href).searchParams.get("theme") === "light" ? "light" : "dark";
  return printing() ? "light" : (chosen() ?? (system.matches ? "dark" : "light"));
}

const [printing, setPrinting] = createSignal(false);
const [theme, setTheme] = createSignal<Theme>(current());
export { printing, theme };

function apply(): void {
  document.documentElement.dataset.theme = current();
  setTheme(current());
}

apply();
system.addEventListener("change", apply);

function print(now: boolean): void {
  setPrinting(now);
  apply();
}
addEventListener("beforeprint", () => print(true));
addEventListener("afterprint", () => print(false));
matchMedia("print").addEventListener("change", (event) => print(event.matches));

export function toggleTheme(): void {
  try {
    localStorage.setItem(KEY, theme() === "dark" ? "light" : "dark");
  } catch {
    return;
  }
  apply();
}

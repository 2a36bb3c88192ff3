/** Colours of the charts: the page's own tokens, as a canvas needs them, with the colors of the teams of its game. */
import { createSignal, onCleanup, onMount, type Accessor } from "solid-js";

export interface Palette {
  /** As `typeUnit`; charts scale with it on large screens. */
  unit: number;
  ink: string;
  muted: string;
  grid: string;
  surface: string;
  home: string;
  away: string;
  homeTint: string;
  awayTint: string;
  forecast: string;
  fan: [string, string, string];
}

/** The page's font size divided by 16 pixels. */
export function typeUnit(): number {
  return Number.parseFloat(getComputedStyle(document.documentElement).fontSize) / 16;
}

export function palette(place: Element): Palette {
  const style = getComputedStyle(place);
  const token = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    unit: typeUnit(),
    ink: token("ink"),
    muted: token("muted"),
    grid: token("grid"),
    surface: token("surface"),
    home: token("home"),
    away: token("away"),
    homeTint: `${token("home")}52`,
    awayTint: `${token("away")}52`,
    forecast: token("forecast"),
    fan: [token("fan-50"), token("fan-80"), token("fan-95")],
  };
}

/** The width of an element in pixels, as it changes. */
export function createWidth(element: () => Element): Accessor<number> {
  const [width, setWidth] = createSignal(0);
  onMount(() => {
    const observer = new ResizeObserver(() => setWidth(element().clientWidth));
    observer.observe(element());
    onCleanup(() => observer.disconnect());
  });
  return width;
}

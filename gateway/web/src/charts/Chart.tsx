/** A uPlot chart as wide as its place, built once it comes on screen; drawn again when its data, the theme or the width changes. */
import { createEffect, on, onCleanup, onMount } from "solid-js";
import type uPlot from "uplot";
import { printing, theme } from "../state/theme";
import { strings } from "../strings";
import { palette, type Palette } from "./theme";

/** Path builders for series, which only the library has. */
export type Paths = typeof uPlot.paths;

/** The library, a fifth of the page's script: loaded with the first chart, and again after a failure. */
let library: Promise<typeof uPlot> | undefined;
let loaded: typeof uPlot | undefined;
function load(): Promise<typeof uPlot> {
  library ??= import("./library").then((found) => (loaded = found.default));
  library.catch(() => (library = undefined));
  return library;
}

/** Runs when the browser is idle, or soon in a browser without this function. */
const whenIdle = window.requestIdleCallback ?? ((run: () => void) => setTimeout(run, 1000));

export interface ChartProps {
  /** Description of the chart in a sentence, for people who cannot see it. */
  label: string;
  data: uPlot.AlignedData;
  /** Options without size, from the palette; computed again when `shape` or the theme changes. */
  options: (colors: Palette, paths: Paths) => Omit<uPlot.Options, "width" | "height">;
  /** Changes when the series change, so that the chart must be built again. */
  shape?: string;
  /** "tall" for a page's main chart; "fill": as high as its place. */
  size?: Size | "fill";
  onReady?: (chart: uPlot) => void;
}

const HEIGHT = { small: 0.28, medium: 0.42, tall: 0.56, square: 0.95 };
const BOUNDS = { small: [130, 260], medium: [200, 460], tall: [260, 760], square: [260, 760] } as const;
type Size = keyof typeof HEIGHT;

/** Charts are built a little before they are scrolled to. */
const AHEAD = { rootMargin: "25% 0px" };

export function heightFor(size: Size, width: number): number {
  const [least, most] = BOUNDS[size];
  return Math.round(Math.max(least, Math.min(most, HEIGHT[size] * width)));
}

export function Chart(props: ChartProps) {
  let place!: HTMLDivElement;
  let chart: uPlot | undefined;
  const size = () => {
    const width = Math.max(200, place.clientWidth);
    if (props.size === "fill") return { width, height: Math.max(120, place.clientHeight) };
    return { width, height: heightFor(props.size ?? "medium", width) };
  };
  let seen = false;
  const build = () => {
    if (!loaded || !seen) return;
    if (!chart) place.textContent = "";
    chart?.destroy();
    chart = new loaded({ ...props.options(palette(place), loaded.paths), ...size() }, props.data, place);
    props.onReady?.(chart);
  };
  onMount(() => {
    let gone = false;
    const keepHeight = (height: number) => props.size === "fill" || (place.style.minHeight = `${height}px`);
    keepHeight(size().height); // content below does not move when the chart is drawn
    const begin = async () => {
      if (seen) return;
      seen = true;
      comes.disconnect();
      if (loaded) return build(); // at once, for printing
      try {
        await load();
        if (!gone) build();
      } catch {
        seen = false;
        place.textContent = strings.failed;
      }
    };
    const comes = new IntersectionObserver((entries) => void (entries.some((entry) => entry.isIntersecting) && begin()), AHEAD);
    comes.observe(place);
    // A chart may be printed before it was ever on screen.
    whenIdle(() => void load().catch(() => undefined));
    createEffect(on(printing, (now) => void (now && begin()), { defer: true }));
    const observer = new ResizeObserver(() => {
      const next = size();
      keepHeight(next.height);
      if (chart && (chart.width !== next.width || chart.height !== next.height)) chart.setSize(next);
    });
    observer.observe(place);
    createEffect(on(() => [props.shape, theme()], build, { defer: true }));
    createEffect(on(() => props.data, (data) => chart?.setData(data), { defer: true }));
    onCleanup(() => {
      gone = true;
      comes.disconnect();
      observer.disconnect();
      chart?.destroy();
    });
  });
  return <div ref={place} class="chart" role="img" aria-label={props.label} data-size={props.size ?? "medium"} />;
}

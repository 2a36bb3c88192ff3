/**
 * A uPlot chart as wide as its place, built once it comes on screen or the browser is idle; drawn again when its data,
 * the theme or the width changes. What it says of a place is read with the pointer, a finger or the arrow keys.
 */
import { createEffect, createMemo, createSignal, For, on, onCleanup, onMount, Show } from "solid-js";
import type uPlot from "uplot";
import { printing, theme } from "../state/theme";
import { strings } from "../strings";
import { palette, typeUnit, type Palette } from "./theme";

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
  /** What is said of the place of an x-value, by its index: its name, then lines; empty where nothing is. */
  read?: (index: number) => readonly string[];
}

/** Heights by size: the share of the width, and least and most pixels, the most at the usual size of type. */
const HEIGHTS = { small: [0.28, 150, 260], medium: [0.42, 200, 340], tall: [0.56, 260, 420], square: [0.95, 260, 420] } as const;
type Size = keyof typeof HEIGHTS;

/** Pixels below a chart that what it says of a place may need; without them it stands above the chart. */
const READING_ROOM = 200;

/** Charts are built a little before they are scrolled to. */
const AHEAD = { rootMargin: "25% 0px" };

function heightFor(size: Size, width: number): number {
  const [share, least, most] = HEIGHTS[size];
  return Math.round(Math.max(least, Math.min(most * typeUnit(), share * width)));
}

export function Chart(props: ChartProps) {
  let place!: HTMLDivElement;
  let chart: uPlot | undefined;
  /** The x-value that is read, and how often the chart was built or resized. */
  const [at, setAt] = createSignal<number>();
  const [drawn, setDrawn] = createSignal(0);
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
    setDrawn(drawn() + 1);
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
    // Who scrolls, prints or makes a picture finds it drawn.
    whenIdle(() => void begin());
    createEffect(on(printing, (now) => void (now && begin()), { defer: true }));
    const observer = new ResizeObserver(() => {
      const next = size();
      keepHeight(next.height);
      if (chart && (chart.width !== next.width || chart.height !== next.height)) chart.setSize(next);
      setDrawn(drawn() + 1);
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
  const xs = () => props.data[0];
  const stops = () => Array.from(xs(), (_x, index) => index).filter((index) => props.read?.(index).length);
  const nearest = (x: number, among: readonly number[]) => {
    const far = (index: number) => Math.abs((xs()[index] ?? Infinity) - x);
    return among.reduce<number | undefined>((best, index) => (best === undefined || far(index) < far(best) ? index : best), undefined);
  };
  const reading = createMemo(() => {
    const x = at();
    const index = drawn() && x !== undefined ? nearest(x, stops()) : undefined;
    if (!chart || index === undefined) return undefined;
    const left = chart.over.offsetLeft + chart.valToPos(xs()[index] as number, "x");
    const above = place.getBoundingClientRect().bottom + READING_ROOM > innerHeight;
    return { left, share: left / place.clientWidth, above, top: chart.over.offsetTop, height: chart.over.offsetHeight, lines: props.read?.(index) ?? [] };
  });
  const point = (event: PointerEvent) => {
    if (!chart || !props.read) return;
    const box = chart.over.getBoundingClientRect();
    setAt(chart.posToVal(event.clientX - box.left, "x"));
  };
  const move = (event: KeyboardEvent) => {
    if (event.key === "Escape") return setAt(undefined);
    const all = stops();
    const now = at() === undefined ? -1 : all.indexOf(nearest(at() as number, all) ?? -1);
    const next = { ArrowRight: now + 1, ArrowLeft: now < 0 ? all.length - 1 : now - 1, Home: 0, End: all.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const x = xs()[all[Math.max(0, Math.min(all.length - 1, next))] ?? -1];
    if (x !== undefined) setAt(x);
  };
  const leave = () => setAt(undefined);
  return (
    <div class="chart-frame" onPointerDown={point} onPointerMove={point} onPointerLeave={(event) => event.pointerType === "mouse" && leave()}>
      <div
        ref={place}
        class="chart"
        role="img"
        aria-label={props.label}
        aria-keyshortcuts={props.read && "ArrowLeft ArrowRight"}
        tabindex={props.read && 0}
        onKeyDown={(event) => props.read && move(event)}
        onBlur={leave}
        data-size={props.size ?? "medium"}
      />
      <Show when={props.read}>
        <Show when={reading()}>
          {(one) => <div class="reading-line" style={{ left: `${one().left}px`, top: `${one().top}px`, height: `${one().height}px` }} />}
        </Show>
        <div class="reading" aria-live="polite" data-above={reading()?.above} style={{ left: `${reading()?.left ?? 0}px`, transform: `translateX(${-100 * (reading()?.share ?? 0)}%)` }}>
          <For each={reading()?.lines}>{(line) => <p>{line}</p>}</For>
        </div>
      </Show>
    </div>
  );
}

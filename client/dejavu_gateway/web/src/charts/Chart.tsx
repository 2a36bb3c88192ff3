/** A uPlot chart as wide as its place, drawn again when its data, the theme or the width changes. */
import { createEffect, on, onCleanup, onMount } from "solid-js";
import uPlot from "uplot";
import { theme } from "../state/theme";
import { palette, type Palette } from "./theme";

export interface ChartProps {
  /** What the chart shows, in a sentence, for who cannot see it. */
  label: string;
  data: uPlot.AlignedData;
  /** Options without size, from the palette; asked for again when `shape` or the theme changes. */
  options: (colors: Palette) => Omit<uPlot.Options, "width" | "height">;
  /** Changes when the series change, so that the chart must be built again. */
  shape?: string;
  /** "tall" for a page's main chart. */
  size?: "small" | "medium" | "tall";
  onReady?: (chart: uPlot) => void;
}

const HEIGHT = { small: 0.28, medium: 0.42, tall: 0.56 };
const BOUNDS = { small: [130, 260], medium: [200, 460], tall: [260, 760] } as const;

export function heightFor(size: "small" | "medium" | "tall", width: number): number {
  const [least, most] = BOUNDS[size];
  return Math.round(Math.max(least, Math.min(most, HEIGHT[size] * width)));
}

export function Chart(props: ChartProps) {
  let place!: HTMLDivElement;
  let chart: uPlot | undefined;
  const size = () => {
    const width = Math.max(200, place.clientWidth);
    return { width, height: heightFor(props.size ?? "medium", width) };
  };
  const build = () => {
    chart?.destroy();
    chart = new uPlot({ ...props.options(palette()), ...size() }, props.data, place);
    props.onReady?.(chart);
  };
  onMount(() => {
    build();
    const observer = new ResizeObserver(() => {
      const next = size();
      if (chart && (chart.width !== next.width || chart.height !== next.height)) chart.setSize(next);
    });
    observer.observe(place);
    createEffect(on(() => [props.shape, theme()], build, { defer: true }));
    createEffect(on(() => props.data, (data) => chart?.setData(data), { defer: true }));
    onCleanup(() => {
      observer.disconnect();
      chart?.destroy();
    });
  });
  return <div ref={place} class="chart" role="img" aria-label={props.label} data-size={props.size ?? "medium"} />;
}

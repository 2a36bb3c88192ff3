/** A course of the score, drawn with the pointer or with the arrow keys, and the fan that follows from it. */
import { createMemo, createSignal } from "solid-js";
import type uPlot from "uplot";
import { Chart } from "../charts/Chart";
import { fanData, fanOptions, type FanInput } from "../charts/fanChart";
import { lead } from "../model/format";
import { yRange } from "../model/fan";
import { MAX_MARGIN, withValue } from "../model/pattern";
import type { Forecast } from "../model/types";
import { strings } from "../strings";

const said = strings.whatIf;

interface Props {
  pattern: readonly number[];
  forecast: Forecast | undefined;
  most: number;
  home: string;
  away: string;
  onChange: (pattern: number[]) => void;
}

export function PatternEditor(props: Props) {
  const [cursor, setCursor] = createSignal<number>();
  const minute = () => Math.min(cursor() ?? props.pattern.length, props.pattern.length + 1, props.most);
  let chart: uPlot | undefined;
  let drawing: number | undefined;

  const input = createMemo((): FanInput => {
    const forecasts = props.forecast && props.forecast.minute === props.pattern.length ? [{ ...props.forecast, lead: props.pattern.at(-1) }] : [];
    const values = [...props.pattern, ...forecasts.flatMap((one) => [one.lower, one.upper]), -29, 29];
    return {
      home: props.home,
      away: props.away,
      played: props.pattern.map((margin, index) => ({ minute: index + 1, lead: margin })),
      forecasts,
      outcomes: [],
      overtimes: 0,
      later: [],
      range: yRange(values),
    };
  });

  /** Sets the minute under the pointer, and all minutes between the last one and this one. */
  const draw = (event: PointerEvent) => {
    if (!chart) return;
    const box = chart.over.getBoundingClientRect();
    const at = Math.round(chart.posToVal(event.clientX - box.left, "x"));
    const value = chart.posToVal(event.clientY - box.top, "y");
    const target = Math.max(1, Math.min(props.most, at));
    let next = props.pattern.slice();
    const from = drawing ?? target;
    const start = next[from - 1] ?? value;
    const step = Math.sign(target - from);
    for (let passed = from + step; step && passed !== target; passed += step)
      next = withValue(next, passed, start + ((value - start) * (passed - from)) / (target - from));
    next = withValue(next, target, value);
    drawing = target;
    setCursor(target);
    props.onChange(next);
  };

  const onKey = (event: KeyboardEvent) => {
    const value = props.pattern[minute() - 1] ?? props.pattern.at(-1) ?? 0;
    const move = { ArrowUp: 1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
    if (move !== undefined) props.onChange(withValue(props.pattern, Math.max(1, minute()), Math.max(-MAX_MARGIN, Math.min(MAX_MARGIN, value + move))));
    else if (event.key === "ArrowLeft") setCursor(Math.max(1, minute() - 1));
    else if (event.key === "ArrowRight") {
      const next = Math.min(props.most, minute() + 1);
      if (next > props.pattern.length) props.onChange(withValue(props.pattern, next, props.pattern.at(-1) ?? 0));
      setCursor(next);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      props.onChange(props.pattern.slice(0, -1));
      setCursor(Math.max(1, props.pattern.length));
    } else return;
    event.preventDefault();
  };

  const valueText = () => said.drawLabel(minute(), lead(props.pattern[minute() - 1] ?? 0, props.home, props.away, 0));
  return (
    <div
      class="draw"
      role="slider"
      tabindex="0"
      aria-label={said.draw}
      aria-valuemin={-MAX_MARGIN}
      aria-valuemax={MAX_MARGIN}
      aria-valuenow={props.pattern[minute() - 1] ?? 0}
      aria-valuetext={valueText()}
      onKeyDown={onKey}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        drawing = undefined;
        draw(event);
      }}
      onPointerMove={(event) => event.buttons && draw(event)}
    >
      <Chart
        label={valueText()}
        size="tall"
        data={fanData(input())}
        options={fanOptions(input)}
        shape={[props.home, props.away, ...input().range].join()}
        onReady={(ready) => (chart = ready)}
      />
    </div>
  );
}

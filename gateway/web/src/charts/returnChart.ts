/** What bets have returned one after another, and would have at the market's next price. */
import type uPlot from "uplot";
import type { sums as summed } from "../model/bets";
import { signed } from "../model/format";
import { axis, line, quiet } from "./axes";
import type { Palette } from "./theme";

/** Series: return, and return at the next price if that is known. The first point is before the first bet. */
export function returnData(sums: ReturnType<typeof summed>, closing: boolean): uPlot.AlignedData {
  const all = [{ profit: 0, closing: 0 }, ...sums];
  return [all.map((_sums, place) => place), all.map((one) => one.profit), all.map((one) => (closing ? one.closing : null))];
}

export function returnOptions(colors: Palette): Omit<uPlot.Options, "width" | "height"> {
  const shares = (step: number) => (value: number) => `${signed(100 * value, step < 0.01 ? 1 : 0)} %`;
  return {
    ...quiet(colors),
    scales: { x: { time: false }, y: { range: (_chart, low, high) => [Math.min(low, -0.002) * 1.1, Math.max(high, 0.002) * 1.1] } },
    axes: [
      axis(colors, 28, { grid: { show: false }, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500] }),
      axis(colors, 68, { incrs: [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5], values: (_chart, all, _axis, _space, step) => all.map(shares(step)) }),
    ],
    series: [{}, line(colors, colors.forecast, 2), line(colors, colors.away, 2, [2, 3])],
  };
}

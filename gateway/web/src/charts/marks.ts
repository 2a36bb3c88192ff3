/** Marks on the canvas of a chart. */
import type uPlot from "uplot";

type Place = readonly [left: number, top: number];

/** A straight line between two places in pixels of the canvas. */
export function stroke({ ctx }: uPlot, color: string, width: number, from: Place, to: Place): void {
  ctx.save();
  ctx.strokeStyle = color;
  ctx.lineWidth = width * devicePixelRatio;
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
  ctx.restore();
}

export function dot(chart: uPlot, x: number, y: number, radius: number, fill: string, rim: string): void {
  const { ctx } = chart;
  ctx.save();
  ctx.beginPath();
  ctx.arc(chart.valToPos(x, "x", true), chart.valToPos(y, "y", true), radius * devicePixelRatio, 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.fill();
  ctx.strokeStyle = rim;
  ctx.setLineDash([]); // a dashed line may have been drawn before
  ctx.lineWidth = 0.4 * radius * devicePixelRatio;
  ctx.stroke();
  ctx.restore();
}

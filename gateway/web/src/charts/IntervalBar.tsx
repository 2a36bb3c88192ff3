/** A forecast and its interval on a line from "away far ahead" to "home far ahead". */
const REACH = 40;

function place(value: number): number {
  return 50 + (50 * Math.max(-REACH, Math.min(REACH, value))) / REACH;
}

export function IntervalBar(props: { lower: number; upper: number; point: number; label: string }) {
  return (
    <svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" role="img" aria-label={props.label}>
      <line class="interval-axis" x1={0} x2={100} y1={6} y2={6} />
      <line class="interval-even" x1={50} x2={50} y1={0} y2={12} />
      <rect class="interval-range" x={place(props.lower)} width={Math.max(0.5, place(props.upper) - place(props.lower))} y={3.5} height={5} />
      <rect class="interval-point" x={place(props.point) - 0.6} width={1.2} y={1} height={10} />
    </svg>
  );
}

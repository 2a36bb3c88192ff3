/** The time, by the server's clock where it is known: the viewer's may be wrong. */
import { createSignal } from "solid-js";
import { delay } from "./delay";

const [offset, setOffset] = createSignal<number>();
const [now, setNow] = createSignal(Date.now());
setInterval(() => setNow(Date.now() + (offset() ?? 0) - delay), 1000);

/** Milliseconds since 1970 by the server's clock, less the delay; renewed every second. */
export { now };

/** The newest time of what the page may show, in milliseconds since 1970. */
export function newestShown(): number {
  return delay ? now() : Infinity;
}

/** The server's clock minus the viewer's, in milliseconds; undefined until the server told its time. */
export { offset };

/**
 * Treats the server's time as if it had been sent now. It was sent a little earlier, so the offset is too small by the
 * time the answer took to arrive.
 */
export function serverSaid(time: string): void {
  const server = Date.parse(time);
  if (!Number.isNaN(server)) {
    setOffset(server - Date.now());
    setNow(server - delay);
  }
}

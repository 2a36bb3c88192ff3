/** The delay of an overlay or a board: everything that the page is told, it takes later by as much. */
import { delayOf } from "../model/overlay";

const address = new URL(location.href);

/** In milliseconds; 0 on all other pages. It does not change while the page is open. */
export const delay = /^\/(overlay\/|board)/.test(address.pathname) ? delayOf(address.searchParams.get("delay") ?? undefined) : 0;

/** Does something after the delay, in the order in which it was told. */
export function later(act: () => void): void {
  if (delay) setTimeout(act, delay);
  else act();
}

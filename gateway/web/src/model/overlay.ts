/** What goes on the air, where and how large, from an address; and an interval in words of a broadcast. */

/** The box: a lower third, a score bug, the fan of the lead, or the course of the probability of a win. */
export const FORMS = ["third", "bug", "fan", "win"] as const;
export type Form = (typeof FORMS)[number];

/** What stands in a third, a bug or the ticker beside the score: who wins, the likely margin, the game seen before. */
export const PARTS = ["chance", "end", "dejavu"] as const;
export type Part = (typeof PARTS)[number];

const USUAL_PARTS: Record<Form, readonly Part[]> = { third: PARTS, bug: ["chance"], fan: [], win: [] };

/** A form and parts from a list of both: "bug", "third,chance,dejavu", "dejavu". A form alone has its usual parts, one with "score" alone has none. */
export function shownOf(text: string | undefined): { form: Form; parts: readonly Part[] } {
  const named = (text ?? "").split(",");
  const form = FORMS.find((one) => named.includes(one)) ?? "third";
  const parts = PARTS.filter((one) => named.includes(one));
  return { form, parts: parts.length || named.includes("score") ? parts : USUAL_PARTS[form] };
}

export interface Frame {
  width: number;
  height: number;
}

const FULL_HD: Frame = { width: 1920, height: 1080 };

/** The frame of "1280x720"; that of full HD where there is none, or no sensible one. */
export function frameOf(text: string | undefined): Frame {
  const [, width, height] = /^(\d{3,4})x(\d{3,4})$/.exec(text ?? "") ?? [];
  return width && height ? { width: Number(width), height: Number(height) } : FULL_HD;
}

/** A whole number within bounds; `usual` where the text is none. */
function whole(text: string | undefined, least: number, most: number, usual: number): number {
  return text !== undefined && /^\d{1,4}$/.test(text) ? Math.min(most, Math.max(least, Number(text))) : usual;
}

/** Whether a text can be the id of a game. */
export function isGameId(text: string): boolean {
  return /^\d{10}$/.test(text);
}

const LONGEST_DELAY_SECONDS = 600;

/** By how many milliseconds a page is behind what the server knows, as the picture that it lies on is. */
export function delayOf(text: string | undefined): number {
  return 1000 * whole(text, 0, LONGEST_DELAY_SECONDS, 0);
}

/** The size of type and boxes, in percent of the usual one. */
export function sizeOf(text: string | undefined): number {
  return whole(text, 50, 200, 100);
}

const BOARD = { least: 4, most: 8 };

/** The games of a board, from a list of ids; else how many are chosen: "6". */
export function boardOf(text: string | undefined): { ids: string[] | undefined; count: number } {
  const ids = (text ?? "").split(",").filter(isGameId).slice(0, BOARD.most);
  return { ids: ids.length ? ids : undefined, count: whole(text, BOARD.least, BOARD.most, BOARD.most) };
}

/** Corners and edges of a frame where a box can stand. */
export const PLACES = ["top-left", "top", "top-right", "bottom-left", "bottom", "bottom-right"] as const;
type Place = (typeof PLACES)[number];

/** The usual place of each form. */
export const PLACE_OF: Record<Form, Place> = { third: "bottom-left", bug: "top-left", fan: "top-right", win: "top-right" };
/** Shares of the frame: the width of a form (a bug is as wide as its text), and the edge that televisions may cut off. */
const WIDTHS: Record<Form, number | undefined> = { third: 0.56, bug: undefined, fan: 0.38, win: 0.38 };
const EDGE = 0.05;

export interface Asked {
  place?: string | undefined;
  size?: string | undefined;
  x?: string | undefined;
  y?: string | undefined;
  width?: string | undefined;
}

/** Style of a box within its frame: at its place and size, or at the pixels of `x` and `y`, as wide as `width`. */
export function boxOf(form: Form, frame: Frame, asked: Asked): Record<string, string> {
  const place = PLACES.find((one) => one === asked.place) ?? PLACE_OF[form];
  const [down, across] = place.split("-") as ["top" | "bottom", string | undefined];
  const edge = (length: number) => `${Math.round(EDGE * length)}px`;
  const share = WIDTHS[form] && Math.min(1 - 2 * EDGE, (WIDTHS[form] * sizeOf(asked.size)) / 100);
  const wide = whole(asked.width, 1, frame.width, share === undefined ? 0 : Math.round(share * frame.width));
  const x = whole(asked.x, 0, frame.width, -1);
  const y = whole(asked.y, 0, frame.height, -1);
  return {
    width: wide ? `${wide}px` : "fit-content",
    ...(y < 0 ? { [down]: edge(frame.height) } : { top: `${y}px` }),
    ...(x >= 0 ? { left: `${x}px` } : across ? { [across]: edge(frame.width) } : { left: "0", right: "0", "margin-inline": "auto" }),
  };
}

/** The final margins within an interval: "BOS by 3 to 21", "BOS by 3", "up to BOS by 21 or LAL by 4"; undefined if it has none but a tie. */
export function margins(interval: { lower: number; upper: number }, home: string, away: string): string | undefined {
  // No game ends tied, and a margin is whole: of an interval between two of them, the nearest one.
  let [low, high] = [Math.ceil(interval.lower), Math.floor(interval.upper)];
  if (low > high) low = high = Math.round((interval.lower + interval.upper) / 2);
  if (low === 0 && high === 0) return undefined;
  if (low === 0) low = 1;
  if (high === 0) high = -1;
  // A line never breaks within a margin.
  const by = (margin: number) => `${margin > 0 ? home : away}\u00a0by\u00a0${Math.abs(margin)}`;
  const [near, far] = Math.abs(low) < Math.abs(high) ? [low, high] : [high, low];
  if (near === far) return by(near);
  return low < 0 && high > 0 ? `up to\u00a0${by(far)} or ${by(near)}` : `${by(near)} to ${Math.abs(far)}`;
}

/** Frame, size and place of an overlay, from its address. */

/** What an overlay shows: a lower third, the fan of the lead, or the probability of a win. */
export const KINDS = ["third", "fan", "win"] as const;
export type Kind = (typeof KINDS)[number];

export interface Frame {
  width: number;
  height: number;
}

export interface Box {
  left: number;
  top: number;
  width: number;
}

const DEFAULT: Frame = { width: 1920, height: 1080 };

/** Parts of the frame: the lower third at the bottom left, charts at the top right. */
const PLACES: Record<Kind, Box> = {
  third: { left: 0.05, top: 0.77, width: 0.56 },
  fan: { left: 0.57, top: 0.07, width: 0.38 },
  win: { left: 0.57, top: 0.07, width: 0.38 },
};

/** The frame of "1280x720"; that of full HD where there is none, or no sensible one. */
export function frameOf(text: string | undefined): Frame {
  const [, width, height] = /^(\d{3,4})x(\d{3,4})$/.exec(text ?? "") ?? [];
  return width && height ? { width: Number(width), height: Number(height) } : DEFAULT;
}

export function kindOf(text: string | undefined): Kind {
  return KINDS.find((kind) => kind === text) ?? "third";
}

const LONGEST_DELAY_SECONDS = 600;

/** By how many milliseconds an overlay is behind what the server knows, as the picture that it lies on is. */
export function delayOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,3}$/.test(text) ? 1000 * Math.min(Number(text), LONGEST_DELAY_SECONDS) : 0;
}

/** Where it stands in the frame, in pixels: as asked for by `x`, `y` and `width`, else at its usual place. */
export function boxOf(kind: Kind, frame: Frame, asked: { x?: string | undefined; y?: string | undefined; width?: string | undefined }): Box {
  const usual = PLACES[kind];
  const pixels = (text: string | undefined, otherwise: number, most: number) =>
    text !== undefined && /^\d{1,4}$/.test(text) ? Math.min(Number(text), most) : Math.round(otherwise);
  return {
    left: pixels(asked.x, usual.left * frame.width, frame.width),
    top: pixels(asked.y, usual.top * frame.height, frame.height),
    width: pixels(asked.width, usual.width * frame.width, frame.width),
  };
}

/** A course of the score as a user enters it: differentials at the end of minutes 1, 2, … */

export const MAX_MARGIN = 60;

export type Parsed = { pattern: number[] } | { problem: { index: number; text: string } };

/** Numbers separated by spaces, commas or semicolons; "−" and "–" count as minus signs. */
export function parse(text: string): Parsed {
  const words = text.replace(/[−–]/g, "-").split(/[\s,;]+/).filter(Boolean);
  const pattern: number[] = [];
  for (const [index, word] of words.entries()) {
    const value = Number(word);
    if (!/^[+-]?\d+(\.\d+)?$/.test(word) || Math.abs(value) > 200) return { problem: { index, text: word } };
    pattern.push(value);
  }
  return { pattern };
}

export function write(pattern: readonly number[]): string {
  return pattern.join(" ");
}

/** The pattern with a value at a minute (from 1); minutes skipped before it are filled in a straight line. */
export function withValue(pattern: readonly number[], minute: number, value: number): number[] {
  const bounded = Math.max(-MAX_MARGIN, Math.min(MAX_MARGIN, Math.round(value)));
  const next = pattern.slice();
  const start = next.length;
  const from = next[start - 1] ?? 0;
  for (let place = start; place < minute - 1; place++)
    next.push(Math.round(from + ((bounded - from) * (place - start + 1)) / (minute - start)));
  next[minute - 1] = bounded;
  return next;
}

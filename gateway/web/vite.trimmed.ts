/** A plugin that takes out of a library what the page never uses, where no bundler can tell. */
import type { Plugin } from "vite";

/** `pieces` of its source, each with the replacement: of the first place, or of all if the pattern has the flag g. */
export function trimmed(name: string, id: RegExp, ...pieces: readonly (readonly (readonly [RegExp, string])[])[]): Plugin {
  return {
    name,
    transform: {
      filter: { id },
      handler(code) {
        let changed = code;
        for (const [pattern, instead] of pieces.flat()) {
          if (changed.search(pattern) < 0) throw new Error(`${id} has no ${pattern} any more: look what stands there now`);
          changed = changed.replace(pattern, instead);
        }
        return { code: changed, map: null };
      },
    },
  };
}

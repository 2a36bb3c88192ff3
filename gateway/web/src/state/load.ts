/** An answer of the server: requested again when the request changes; the last answer is kept meanwhile. */
import { createEffect, createSignal, on, onCleanup } from "solid-js";
import { reachable } from "./live";

export interface Loaded<T> {
  /** The newest answer, also while a newer one is awaited and after that failed. */
  value: () => T | undefined;
  /** Error of the newest request. */
  error: () => unknown;
  /** Asks again; resolves when the answer is there or failed. */
  reload: () => Promise<void>;
}

/** Asks `ask` for each value of `key` except undefined. An answer that arrives after a newer request is dropped. */
export function createLoaded<K, T>(key: () => K | undefined, ask: (key: K) => Promise<T>): Loaded<T> {
  const [value, setValue] = createSignal<T>();
  const [error, setError] = createSignal<unknown>();
  let newest = 0;
  const load = async (question: K | undefined) => {
    const mine = ++newest;
    if (question === undefined) return;
    try {
      const answer = await ask(question);
      if (mine !== newest) return;
      setValue(() => answer);
      setError(undefined);
    } catch (reason) {
      if (mine === newest) setError(reason);
    }
  };
  createEffect(on(key, (question) => void load(question)));
  createEffect(on(reachable, (now) => now && error() && void load(key()), { defer: true })); // recovers automatically
  onCleanup(() => newest++);
  return { value, error, reload: () => load(key()) };
}

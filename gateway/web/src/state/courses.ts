/** The courses of similar games, which forecasts of the stream have and those of lists lack. */
import { createMemo, createSignal, createEffect, onCleanup, type Accessor } from "solid-js";
import { api } from "../api/client";
import { forecast as toForecast } from "../api/convert";
import type { Forecast } from "../model/types";
import { createLoaded } from "./load";

/** Pause after the last change of the shown forecast before its courses are asked for: a viewer who looks for a minute passes many. */
const PAUSE_MS = 250;

/** The forecast with the courses of its similar games, once they are known. */
export function createWithCourses(shown: Accessor<Forecast | undefined>): Accessor<Forecast | undefined> {
  // A game's history is loaded again after each event: an equal forecast is not asked for again.
  const lacking = createMemo(
    () => {
      const one = shown();
      return one?.similar.length && !one.similar.some((game) => game.course.length) ? one : undefined;
    },
    undefined,
    { equals: (before, after) => before?.sequence === after?.sequence },
  );
  const [asked, setAsked] = createSignal<Forecast>();
  createEffect(() => {
    const one = lacking();
    const timer = setTimeout(() => setAsked(one), PAUSE_MS);
    onCleanup(() => clearTimeout(timer));
  });
  const loaded = createLoaded(asked, async ({ gameId, horizon, minute }) => {
    const query = { horizon: horizon === "final" ? "HORIZON_FINAL" : "HORIZON_HALFTIME", elapsedMinutes: minute };
    return toForecast((await api.prediction(gameId, query)).prediction?.forecast ?? {});
  });
  return () => {
    const [one, complete] = [shown(), loaded.value()];
    return one && complete?.sequence === one.sequence ? { ...one, similar: complete.similar } : one;
  };
}

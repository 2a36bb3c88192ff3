/** All forecasts of one game, loaded again after new events of the stream. */
import { createEffect, createMemo, on, onCleanup } from "solid-js";
import { api, ApiError } from "../api/client";
import { outcome, recorded } from "../api/convert";
import { byMinute, inOrder, standing, standingAt } from "../model/course";
import type { Forecast, Horizon, Recorded } from "../model/types";
import { newestShown } from "./clock";
import { onEvent } from "./games";
import { connection, onRestart } from "./live";
import { createLoaded } from "./load";

/** Several events come together, and the answer is large: ask once for all of them. */
const COLLECT_MS = 300;

/** Pause before a failed reload is repeated: otherwise only the next event would reload, and after the final none may come. */
const RETRY_MS = 3000;

export function createHistory(id: () => string) {
  const loaded = createLoaded(id, async (game) => {
    const json = await api.game(game).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) return { predictions: [], outcomes: [] };
      throw error;
    });
    return { predictions: inOrder(json.predictions.map(recorded)), outcomes: json.outcomes.map(outcome) };
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  const reload = () => {
    timer ??= setTimeout(() => {
      timer = undefined; // events during the request cause another one
      void loaded.reload().then(() => {
        if (!over && loaded.error() && loaded.value()) timer ??= setTimeout(() => ((timer = undefined), reload()), RETRY_MS);
      });
    }, COLLECT_MS);
  };
  onCleanup(onEvent((game) => game === id() && reload()));
  onCleanup(onRestart(reload));
  createEffect(on(connection, (state) => state === "open" && reload(), { defer: true }));
  onCleanup(() => {
    over = true;
    clearTimeout(timer);
  });

  const predictions = createMemo(() => {
    const until = newestShown();
    return (loaded.value()?.predictions ?? []).filter((one) => one.forecast.generated <= until);
  });
  const outcomes = () => (loaded.value()?.outcomes ?? []).filter((one) => one.recorded <= newestShown());
  const series = {
    half: createMemo(() => byMinute(predictions(), "half")),
    final: createMemo(() => byMinute(predictions(), "final")),
  };
  const minutes = createMemo(() =>
    [...new Set([...series.half(), ...series.final()].map((one) => one.forecast.minute))].sort((a, b) => a - b),
  );
  return {
    loaded,
    reload,
    predictions,
    /** Times of play with a forecast that was in time, of either horizon. */
    minutes,
    /** Whether there are forecasts, and none that was in time. */
    onlyLate: () => predictions().length > 0 && !minutes().length,
    series: (horizon: Horizon) => series[horizon](),
    outcome: (horizon: Horizon) => standing(outcomes(), horizon),
    at: (minute: number, horizon: Horizon): Recorded | undefined => standingAt(series[horizon](), minute),
    /** The forecast of the latest time of play: of the end if there is one, else of the half. */
    newest: (): Forecast | undefined => {
      const last = minutes().at(-1);
      return [...series.final(), ...series.half()].find((one) => one.forecast.minute === last)?.forecast;
    },
    teams: (): { home: string; away: string } => {
      const named = predictions().find((one: { forecast: Forecast }) => one.forecast.home && one.forecast.away)?.forecast;
      return { home: named?.home ?? "", away: named?.away ?? "" };
    },
  };
}

export type History = ReturnType<typeof createHistory>;

/** Models, their changes and comparisons in words. */
import type { ModelChangeJson, ModelEvidenceJson } from "../gen/dejavu/v1/model_change_pb";
import type { ModelComparisonJson, ScoreComparisonJson } from "../gen/dejavu/v1/model_comparison_pb";
import type { MetricJson, ModelJson } from "../gen/dejavu/v1/model_service_pb";
import { num, time } from "../api/convert";
import { strings } from "../strings";
import { exact, figure, signed } from "./format";
import { afterOrAt } from "./play";

const said = strings.models;

/** E-value from which a statement is shown, with an error rate of at most 1 in 20 over all looks. */
export const THRESHOLD = 20;

/** Whether the server has a store of models: without one no model has a stage. */
export function hasStore(models: readonly ModelJson[]): boolean {
  return models.some((model) => (model.stage ?? "MODEL_STAGE_UNSPECIFIED") !== "MODEL_STAGE_UNSPECIFIED");
}

/** The beginning of a version, by which people tell models apart: a phone has no room for all of it. */
function short(version = ""): string {
  return version.slice(0, 8);
}

/** A model by its role where it has one: "champion 24a8ff78". */
function named(model: ModelJson): string {
  const role = said.roles[model.aliases?.[0] ?? ""];
  return [role, short(model.version)].filter(Boolean).join(" ");
}

/** Pairs to compare: each challenger with the champion, the newest first, then the champion with its predecessor and with persistence, the last known lead; by version, with both names as shown. */
export function pairs(models: readonly ModelJson[]) {
  const has = (alias: string) => models.find((model) => model.aliases?.includes(alias));
  const champion = has("champion");
  if (!champion) return [];
  const previous = has("previous");
  const pair = (model: ModelJson, against: string, other: string) => ({ model: model.version ?? "", against, name: named(model), other });
  const challengers = models.filter((model) => model.stage === "MODEL_STAGE_STAGED" && !model.aliases?.includes("previous"));
  challengers.sort((a, b) => Number(b.aliases?.includes("challenger") ?? false) - Number(a.aliases?.includes("challenger") ?? false));
  return [
    ...challengers.map((model) => pair(model, champion.version ?? "", named(champion))),
    ...(previous ? [pair(champion, previous.version ?? "", named(previous))] : []),
    pair(champion, "persistence", strings.record.persistence),
  ];
}

/** Errors that a bundle states of its linear part beside persistence: horizon and minute, the two with their intervals, and the ratio. */
export function statedErrors(metrics: readonly MetricJson[]): string[][] {
  const of = (name: string, digits: number) => figure(metrics.find((one) => one.name === name), digits);
  return metrics.flatMap(({ name = "" }) => {
    const [, prefix, horizon, minute] = /^(unseen\.(halftime|final)\.minute_(\d+))\.linear\.mae$/.exec(name) ?? [];
    if (!prefix) return [];
    const when = `${strings.horizon[horizon === "final" ? "final" : "half"]}, ${afterOrAt(Number(minute))}`;
    return [[when, of(name, 2), of(`${prefix}.persistence.mae`, 2), of(`${prefix}.linear.mae_over_persistence`, 3)]];
  });
}

/** An e-value in a few characters. */
export function evalue(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return "∞";
  return value >= 0.01 && value < 1000 ? value.toFixed(2) : value ? value.toExponential(1).replace("e", "·10^").replace("+", "") : "0";
}

/** The result of a comparison in a sentence; for a challenger and the champion, the decision of the gate. */
export function verdict(comparison: ModelComparisonJson, name: string, other: string, gate: boolean): string {
  if (gate) return said.decisions[comparison.decision ?? ""] ?? "";
  const scores = [comparison.crps, comparison.brier].filter((score) => score !== undefined);
  const shown = (value: (score: ScoreComparisonJson) => number) => scores.map((score) => value(score) >= THRESHOLD);
  const words = said.verdicts;
  if (shown((score) => num(score.worseEValue)).some(Boolean)) return words.worse(name, other);
  if (scores.length && shown((score) => num(score.notWorseEValue)).every(Boolean)) return words.notWorse(name, other);
  return words.open(name, other);
}

/** A difference with its interval: "−0.011 [−0.020, −0.002]". */
export function difference(score: ScoreComparisonJson, digits: number): string {
  return figure({ ...score, value: score.difference }, digits, signed);
}

export function modelRows(models: readonly ModelJson[]): string[][] {
  return models.map((model) => [
    short(model.version),
    said.stages[model.stage ?? ""] ?? "–",
    (model.aliases ?? []).map((alias) => said.roles[alias] ?? alias).join(", ") || "–",
    said.fit[model.verdict ?? ""] ?? "–",
    model.createTime ? exact(time(model.createTime)) : "–",
  ]);
}

function evidence(found: ModelEvidenceJson): string {
  const { crpsDifference, crpsEValue, brierDifference, brierEValue } = found;
  return said.evidence(num(found.games), found.againstVersion ?? "", signed(num(crpsDifference), 3), evalue(num(crpsEValue)), signed(num(brierDifference), 4), evalue(num(brierEValue)));
}

export function changeRows(changes: readonly ModelChangeJson[]): string[][] {
  return changes.map((change) => [
    exact(time(change.changedTime)),
    [said.actions[change.action ?? ""] ?? said.changed, change.forced ? said.forced : ""].filter(Boolean).join(" "),
    [short(change.modelVersion), change.fromVersion && said.insteadOf(short(change.fromVersion))].filter(Boolean).join(" "),
    change.changedBy || "–",
    [change.reason, change.evidence && evidence(change.evidence)].filter(Boolean).join("; ") || "–",
  ]);
}

/** How the programs speak to people. */

import type { DejavuError } from "./dejavu.js";

/** Points with their sign and one decimal. */
export function signed(points: number): string {
  return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)}`;
}

/** Tells an error on stderr, field by field; the program's exit code will be 1. */
export function fail(error: DejavuError): void {
  console.error(String(error));
  for (const { field, description } of error.fieldViolations) {
    console.error(`  ${field}: ${description}`);
  }
  process.exitCode = 1;
}

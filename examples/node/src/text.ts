/** Output helpers of the example programs. */

import type { DejavuError } from "./dejavu.js";

/** Formats points with their sign and one decimal. */
export function signed(points: number): string {
  return `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(1)}`;
}

/** Prints an error with its field violations on stderr and sets the exit code to 1. */
export function fail(error: DejavuError): void {
  console.error(String(error));
  for (const { field, description } of error.fieldViolations) {
    console.error(`  ${field}: ${description}`);
  }
  process.exitCode = 1;
}

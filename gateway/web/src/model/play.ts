/** Time of play: minutes since tip-off, whole after a complete minute, with a fraction at a moment between two, and on through overtimes. */

const QUARTER = 12;
export const REGULATION = 4 * QUARTER;
const OVERTIME = 5;

/** The time of play at a period's clock, rounded so that it can stand in an address and still tells hundredths of a second apart. */
export function timeOfPlay(period: number, secondsLeft: number): number {
  const ends = QUARTER * Math.min(period, 4) + OVERTIME * Math.max(period - 4, 0);
  return Math.round(1e4 * (ends - secondsLeft / 60)) / 1e4;
}

/** Overtimes that a game has by a time of play without an outcome: at the end of a period it is tied, and the next one begins. */
export function overtimesBy(minute: number): number {
  return minute < REGULATION ? 0 : 1 + Math.floor((minute - REGULATION) / OVERTIME);
}

/** The time of play at which a game with so many overtimes ends. */
export function endOf(overtimes: number): number {
  return REGULATION + OVERTIME * overtimes;
}

/** Whether it is the end of a minute of regulation. */
export function isWhole(minute: number): boolean {
  return Number.isInteger(minute) && minute < REGULATION;
}

/** The period and its clock: "Q4 0:42.5", "OT 2:10"; of a tie at the end of a period, that of the next one: "OT 5:00". */
export function gameClock(minute: number): string {
  const overtime = overtimesBy(minute);
  const quarter = Math.max(1, Math.ceil(minute / QUARTER));
  const ends = overtime > 0 ? endOf(overtime) : QUARTER * quarter;
  const name = overtime > 1 ? `OT${overtime}` : overtime === 1 ? "OT" : `Q${quarter}`;
  const tenths = Math.floor(Math.round(6000 * (ends - minute)) / 10);
  const [minutes, rest] = [Math.floor(tenths / 600), tenths % 600];
  const seconds = `${Math.floor(rest / 10)}`.padStart(2, "0");
  return `${name} ${minutes}:${seconds}${rest % 10 ? `.${rest % 10}` : ""}`;
}

/** "Q3 4:10–2:30", or over the end of a period "Q3 1:10–Q4 10:00". */
export function clockSpan(from: number, to: number): string {
  const [first, last] = [gameClock(from), gameClock(to)];
  const [period, clock] = last.split(" ");
  return `${first}–${first.startsWith(`${period} `) ? clock : last}`;
}

/** "18", or between minutes "Q4 0:42.5": for tables. */
export function timeCell(minute: number): string {
  return isWhole(minute) ? `${minute}` : gameClock(minute);
}

/** "minute 18", or between minutes "Q4 0:42.5". */
export function named(minute: number): string {
  return isWhole(minute) ? `minute ${minute}` : gameClock(minute);
}

/** "after minute 18", or between minutes "at Q4 0:42.5". */
export function afterOrAt(minute: number): string {
  return isWhole(minute) ? `after minute ${minute}` : `at ${gameClock(minute)}`;
}

/** Minutes of play for which a forecast holds where none follows. */
export const HOLDS = 1;

/** Whether nothing is known of a game between two forecasts: a line through the gap would be of no forecast. */
export function isGap(before: number, after: number): boolean {
  return after - before > 2 * HOLDS;
}

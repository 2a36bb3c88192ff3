/** Numbers and times as they are shown. Every figure is rounded here and nowhere else. */

const MINUS = "−";

/** A number with `digits` decimals and a true minus sign; never "−0.0". */
export function fixed(value: number, digits = 1): string {
  if (!Number.isFinite(value)) return "–";
  const text = Math.abs(value).toFixed(digits);
  return value < 0 && Number(text) !== 0 ? MINUS + text : text;
}

/** As `fixed`, with a plus sign where it is positive. */
export function signed(value: number, digits = 1): string {
  const text = fixed(value, digits);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}

/** A differential as a lead: "BOS +7.3", "LAL +2.0", or "even" where it rounds to nothing; whole numbers have no decimals. */
export function lead(value: number, home: string, away: string, digits = 1): string {
  const text = Math.abs(value).toFixed(Number.isInteger(value) ? 0 : digits);
  if (Number(text) === 0) return "even";
  return `${value > 0 ? home : away} +${text}`;
}

/** A margin expected before the game: "BOS by 5.5". Books print it with the other sign, so it has none here. */
export function expected(value: number, home: string, away: string): string {
  return lead(value, home, away).replace("+", "by ");
}

/** A probability in whole percent; what is not certain is never shown as 0 or 100 %. */
export function percent(probability: number, digits = 0): string {
  if (!Number.isFinite(probability)) return "–";
  const text = (100 * probability).toFixed(digits);
  if (probability > 0 && Number(text) === 0) return `<${(10 ** -digits).toFixed(digits)} %`;
  if (probability < 1 && Number(text) === 100) return `>${(100 - 10 ** -digits).toFixed(digits)} %`;
  return `${text} %`;
}

/** A span in the largest unit that fits: "8 s", "12 min", "3 h", "2 d". */
export function span(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** A format that is made when it is first used, as that takes some milliseconds. */
function lazy(options: Intl.DateTimeFormatOptions): (instant: number) => string {
  let made: Intl.DateTimeFormat | undefined;
  return (instant) => (made ??= new Intl.DateTimeFormat(undefined, options)).format(instant);
}

const CLOCK = lazy({ hour: "2-digit", minute: "2-digit" });
const EXACT = lazy({ dateStyle: "medium", timeStyle: "long" });
const DATE = lazy({ day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const DAY = lazy({ weekday: "long", day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });

/** Time of day in the viewer's zone. */
export function clock(instant: number): string {
  return Number.isFinite(instant) ? CLOCK(instant) : "–";
}

/** Date and time with the name of the viewer's zone. */
export function exact(instant: number): string {
  return Number.isFinite(instant) ? EXACT(instant) : "–";
}

/** A calendar day (ISO 8601), which belongs to no zone. */
function dayBy(write: (instant: number) => string): (date: string) => string {
  return (date) => {
    const instant = Date.parse(`${date}T00:00:00Z`);
    return Number.isNaN(instant) ? date : write(instant);
  };
}

/** A calendar day with its weekday. */
export const day = dayBy(DAY);

/** A calendar day without its weekday. */
export const calendarDay = dayBy(DATE);

/** The day of games at an instant: the date in UTC 11 hours earlier, by which the record counts its evenings. */
export function gameDay(instant: number): string {
  return new Date(instant - 11 * 3_600_000).toISOString().slice(0, 10);
}

type Written = number | string | undefined;

/** A value with its interval, as the server and bundles state it: "4.70 [4.61, 4.80]". */
export function figure(one: { value?: Written; lower?: Written; upper?: Written } | undefined, digits: number, write = fixed): string {
  if (!one) return "–";
  const value = write(Number(one.value ?? 0), digits);
  return one.lower === undefined || one.upper === undefined ? value : `${value} [${write(Number(one.lower), digits)}, ${write(Number(one.upper), digits)}]`;
}

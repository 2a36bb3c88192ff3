/** Prometheus's text format, as far as the page shows it: counters, gauges, and means of histograms. */

const LINE = /^([a-zA-Z_:][\w:]*)(\{[^}]*\})?\s+(\S+)/;
/** Only the gateway's own figures, not those of its runtime. */
const PREFIX = "dejavu_dashboard_";

function tidy(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString() : value.toLocaleString(undefined, { maximumSignificantDigits: 3 });
}

/** Rows of name and value: samples that are not 0, and for each histogram its count and its mean. */
export function figures(text: string): [string, string][] {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = LINE.exec(line) ?? [];
    if (name?.startsWith(PREFIX) && !/_(bucket|created)$/.test(name)) samples.set(name.slice(PREFIX.length) + labels, Number(value));
  }
  const rows: [string, string][] = [];
  for (const [key, value] of samples) {
    const [, base, labels = ""] = /^(.*)_sum(\{.*)?$/.exec(key) ?? [];
    const isPart = base !== undefined || (key.includes("_count") && samples.has(key.replace("_count", "_sum")));
    if (base !== undefined) {
      const count = samples.get(`${base}_count${labels}`) ?? 0;
      if (count) rows.push([words(base + labels), `${tidy((1000 * value) / count)} ms (n = ${tidy(count)})`]);
    } else if (!isPart && value !== 0) rows.push([words(key), tidy(value)]);
  }
  return rows.sort((a, b) => a[0].localeCompare(b[0]));
}

/** "requests_total{endpoint="/api/games",status="200"}" as "requests · /api/games · 200". */
function words(key: string): string {
  const [name = "", labels = ""] = key.split("{");
  const values = [...labels.matchAll(/"([^"]*)"/g)].map((match) => match[1]);
  return [name.replace(/_(total|seconds)$/, "").replaceAll("_", " "), ...values].join(" · ");
}

/** Removes the parts of uPlot that no chart here uses, some 40 % of it: legend, cursor, times, and scales that are not linear. */
import { trimmed } from "./vite.trimmed";

/** Pieces of its source, each with the replacement: of the first place, or of all if the pattern has the flag g. */
const REPLACED: [RegExp, string][] = [
  [/const FEAT_TIME\s*= true;/, "const FEAT_TIME = false;"], // times
  [/= genTimeStuffs\([\w-]+\);/g, "= [[], [], () => 0];"],
  [/uPlot\.fmtDate = fmtDate;\s*uPlot\.tzDate\s*= tzDate;/, ""],
  [/const _timeAxisSplits = [\s\S]*?_timeSeriesStamp, _fmtDate\)\);/, "const _timeAxisSplits = 0, _timeAxisVals = 0, _timeSeriesVal = 0;"],
  [/const _fmtDate = .*/, ""],
  [/let isTime = .*/g, "const isTime = false;"],
  [/isTime \? \(isStr\(sv\).*?: sv \|\| numSeriesVal/, "sv || numSeriesVal"],
  [/\b(\w+\.|xScaleD|d)(istr|distr) == {1,2}(2|3|4|100)\b/g, "false"], // scales that are not linear
  [/sc\.distr >= 3 && sc\.log == 10 \? log10AxisValsFilt : /, ""],
  [/uPlot\.range(Log|Asinh) = .*/g, ""],
  [/\bmode == 2\b/g, "false"], // scatter plots
  [/\bmode == 1\b/g, "true"],
  [/const showLegend = .*/, "const showLegend = false;"], // the page has tables
  [/const showCursor = .*/, "const showCursor = false;"],
  [/const cursorFocus = .*/, "const cursorFocus = false;"],
  [/if \(cursor\.dataIdx == null\) \{/, "if (false) {"],
  [/legend\.(live|show) && /g, "false && "],
  [/if \(legend\.live\) \{/, "if (false) {"],
  [/select\.show\b/g, "false"],
  [/assign\(\{\}, cursorOpts, .*?, opts\.cursor\)/, "assign({focus: {alpha: 1}, drag: {}, points: {}, left: -10}, opts.cursor)"],
  [/assign\(\{\}, legendOpts, opts\.legend\)/, "{markers: {}}"],
  [/on\("click", wrap, [\s\S]*?\}, true\);/, ""],
  [/sync\.(un)?sub\(self\);/g, ""],
  [/const sync = _sync\(syncKey\);/, ""],
  [/uPlot\.sync = _sync;/, ""],
  [/self\.setCursor = \(opts[\s\S]*?\n\t\};/, ""],
  [/events(\.\w+|\["\w+"\]) = (\w+;|\(e, src, idx, opts\) => \{[\s\S]*?\n\t\};)/g, ""],
  [/uPlot\.join = join;/, ""], // tables of several charts
  [/\(paths\.spline\s*= monotoneCubic\);/, ""], // smooth curves
];

/** Functions that are never called, or have nothing to do. */
const EMPTIED = (
  "onMouse offMouse updateCursor cacheMouse syncLegend setLegend setLegendValues initLegendRow initCursorPt setSelect setSeries " +
  "setFocus setAlpha toggleDOM addSeries delSeries setBand addBand delBand pubSync pub invalidateRects"
).split(" ");

export const trimmedUplot = trimmed(
  "uplot-without-unused",
  /uPlot\.esm\.js$/,
  REPLACED,
  EMPTIED.map((name) => [new RegExp(`\\n(\\t*)function ${name}\\(.*\\) \\{\\n[\\s\\S]*?\\n\\1\\}\\n`), `\n$1function ${name}() {}\n`] as const),
);

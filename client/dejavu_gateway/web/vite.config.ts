import type { Plugin } from "vite";
import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";

// `npm run dev` proxies to a gateway on its default port; a build needs no server.
const gateway = "http://127.0.0.1:8080";

/** Parts of uPlot that no chart here uses, and what stands in their place. */
const UNUSED: [RegExp, string][] = [
  [/const FEAT_TIME\s*= true;/, "const FEAT_TIME = false;"], // formats of dates and times
  [/uPlot\.fmtDate = fmtDate;\s*uPlot\.tzDate\s*= tzDate;/, ""],
  [/opts\.fmtDate \|\| fmtDate/, "opts.fmtDate"],
  [/let stamp = fmtDate\(dateTpl\);/, "let stamp = () => dateTpl;"],
  [/return fmtDate\(stampCfg\);/, "return () => stampCfg;"],
  [/, _fmtDate\)\);\s*const _timeSeriesVal/, ", () => String));\n\tconst _timeSeriesVal"],
  [/uPlot\.join = join;/, ""], // tables of several charts
  [/sc\.distr == 3 \? logAxisSplits : sc\.distr == 4 \? asinhAxisSplits : numAxisSplits/, "numAxisSplits"], // other scales
  [/sc\.distr >= 3 && sc\.log == 10 \? log10AxisValsFilt : sc\.distr == 3 && sc\.log == 2 \? log2AxisValsFilt : /, ""],
  [/\(paths\.spline\s*= monotoneCubic\);/, ""], // smooth curves
];

const withoutUnused: Plugin = {
  name: "uplot-without-unused",
  transform: {
    filter: { id: /uPlot\.esm\.js$/ },
    handler(code) {
      let changed = code;
      for (const [pattern, instead] of UNUSED) {
        if (!pattern.test(changed)) throw new Error(`uPlot has no ${pattern} any more: look what stands there now`);
        changed = changed.replace(pattern, instead);
      }
      return { code: changed, map: null };
    },
  },
};

export default defineConfig({
  plugins: [solid(), withoutUnused],
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // the content security policy allows no data: style or script
    cssCodeSplit: false,
    modulePreload: false, // the server names the further scripts of a page in a header (Link)
    license: { fileName: "licenses.md" },
    reportCompressedSize: false,
  },
  test: { environment: "node" },
  server: { proxy: Object.fromEntries(["/api", "/metrics", "/readyz"].map((path) => [path, gateway])) },
});

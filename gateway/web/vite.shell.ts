/** Content of index.html before any script has loaded: the style, and the head of the page. */
import type { Plugin } from "vite";
import { strings } from "./src/strings";

/** The header as `Frame` draws it, with links that work before any script runs. */
function shell(): string {
  const links = Object.entries(strings.pages).map(([path, name]) => `<a href="${path}">${name}</a>`).join("");
  const nav = `<nav aria-label="${strings.nav}">${links}</nav>`;
  return `<header class="row site-header"><a class="brand" href="/">${strings.product}</a>${nav}</header><main><p class="pending">${strings.loading}</p></main>`;
}

/** The dark theme also holds before the script has chosen one, if the system is dark. */
function darkFromTheStart(css: string): string {
  const dark = /:root\[data-theme="?dark"?\]\s*\{([^}]*)\}/.exec(css);
  if (!dark) throw new Error("the style has no dark theme");
  return css.replace(dark[0], `${dark[0]}@media (prefers-color-scheme:dark){:root:not([data-theme]){${dark[1]}}}`);
}

export const shellInPage: Plugin = {
  name: "shell-in-page",
  enforce: "post",
  transformIndexHtml: (html) => html.replace("<!--shell-->", shell()),
  generateBundle(_options, bundle) {
    const page = bundle["index.html"];
    const style = Object.values(bundle).find((file) => file.fileName.endsWith(".css"));
    if (page?.type !== "asset" || style?.type !== "asset") throw new Error("the build has no index.html, or no style");
    // The style is inlined, which saves a request before the first paint; the gateway's policy allows it by its hash.
    const css = darkFromTheStart(`${style.source}`.trim());
    const before = `${page.source}`;
    page.source = before
      .replace(/\s*<link rel="stylesheet"[^>]*>/, () => `\n    <style>${css}</style>`)
      // The first paint does not need the script, so nothing waits for it.
      .replace('<script type="module"', '<script type="module" fetchpriority="low"');
    if (page.source === before) throw new Error("index.html does not ask for the style");
    delete bundle[style.fileName];
  },
};

import solid from "vite-plugin-solid";
import { defineConfig } from "vitest/config";
import { shellInPage } from "./vite.shell";
import { trimmedSolid } from "./vite.solid";
import { trimmedUplot } from "./vite.uplot";

// `npm run dev` proxies to a gateway on its default port; a build needs no server.
const gateway = "http://127.0.0.1:8080";

export default defineConfig({
  plugins: [solid(), trimmedSolid, trimmedUplot, shellInPage],
  build: {
    outDir: "../dejavu_gateway/page",
    emptyOutDir: true,
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

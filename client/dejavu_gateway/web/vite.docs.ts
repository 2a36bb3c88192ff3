/// <reference types="node" />
/** The reference of the interface at /docs: Swagger UI as its own build has it, which the page itself never loads. */

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Plugin } from "vite";

const VIEWER = dirname(createRequire(import.meta.url).resolve("swagger-ui-dist/package.json"));
const OURS = join(import.meta.dirname, "docs");

/** Files of the document, by the names that it gives them. */
const FILES: Record<string, string> = {
  "swagger-ui.css": join(VIEWER, "swagger-ui.css"),
  "docs.css": join(OURS, "docs.css"),
  "swagger-ui-bundle.js": join(VIEWER, "swagger-ui-bundle.js"),
  "docs.js": join(OURS, "docs.js"),
};

export const reference: Plugin = {
  name: "reference-of-the-interface",
  enforce: "post",
  generateBundle() {
    let page = readFileSync(join(OURS, "docs.html"), "utf8");
    for (const [name, path] of Object.entries(FILES)) {
      const source = readFileSync(path, "utf8").replace(/\/[/*]# sourceMappingURL=.*/g, "");
      const file = this.getFileName(this.emitFile({ type: "asset", name: `docs-${name}`, source }));
      if (!page.includes(`"${name}"`)) throw new Error(`docs.html does not ask for ${name}`);
      page = page.replace(`"${name}"`, `"/${file}"`);
    }
    this.emitFile({ type: "asset", fileName: "docs.html", source: page });
    const licenses = ["NOTICE", "LICENSE", "swagger-ui-bundle.js.LICENSE.txt"].map((name) => readFileSync(join(VIEWER, name), "utf8").trim());
    this.emitFile({ type: "asset", fileName: "licenses-docs.md", source: `# Licenses of the reference at /docs\n\n## swagger-ui-dist (Apache-2.0)\n\n\`\`\`\n${licenses.join("\n\n")}\n\`\`\`\n` });
  },
};

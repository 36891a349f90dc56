// Bundles each component into one hashed file; the style sheets travel inside the scripts.
import { build, transform } from "esbuild";
import { readFile, rm } from "node:fs/promises";

const OUT = "build";
const COMPONENTS = ["player", "song_cards", "song_view", "job_rail", "session_bridge", "departure"];

const styleSheetAsText = {
  name: "style-sheet-as-text",
  setup(bundle) {
    bundle.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true });
      return { contents: code, loader: "text" };
    });
  },
};

await rm(OUT, { recursive: true, force: true });
await build({
  entryPoints: COMPONENTS.map((name) => `src/${name}.ts`),
  outdir: OUT,
  entryNames: "[name]-[hash]",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  legalComments: "inline",
  logLevel: "info",
  plugins: [styleSheetAsText],
});

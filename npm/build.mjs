// Assemble the npm package from the files of the web page and the wheel for Pyodide.
//
//   node npm/build.mjs WHEEL FOLDER
//
// FOLDER is deleted first. The package's version is that of the wheel; its README is docs/npm.md.
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

const [wheel, folder] = process.argv.slice(2);
const root = fileURLToPath(new URL("..", import.meta.url));
const page = join(root, "src/whisper_apr/web/static");
const ENTRIES = ["whisper.js", "pipeline.js", "worker.js"];
const REFERENCE = /(?:\bfrom|\bimport|new URL\()\s*"\.\/([\w-]+\.js)"/g; // to another file of the package

rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });
const names = new Set(ENTRIES);
for (const name of names) {
  const text = readFileSync(join(page, name), "utf-8");
  for (const [, other] of text.matchAll(REFERENCE)) names.add(other);
  writeFileSync(join(folder, name), text);
  const types = name.replace(/\.js$/, ".d.ts");
  if (existsSync(join(page, types))) copyFileSync(join(page, types), join(folder, types));
}
copyFileSync(wheel, join(folder, basename(wheel)));
copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
copyFileSync(join(root, "docs/npm.md"), join(folder, "README.md"));
writeFileSync(
  join(folder, "packaged.js"),
  "// The URL of whisper_apr's wheel for Pyodide.\n\n" +
    `export const WHEEL = new URL("./${basename(wheel)}", import.meta.url).href;\n`,
);
const about = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf-8"));
const [, version] = basename(wheel).split("-");
writeFileSync(join(folder, "package.json"), `${JSON.stringify({ ...about, version }, null, 2)}\n`);

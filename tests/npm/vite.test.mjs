// The package in a project that Vite builds or serves.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { ISOLATION, MODEL, base64, data, open, runtime, serve, startPython, until } from "./harness.mjs";

const { NPM_PROJECT } = process.env;
const VITE = join(NPM_PROJECT, "node_modules/vite/bin/vite.js");
let files, browser, app, text;
const closing = [];

before(async () => {
  const python = startPython();
  text = await python("found = model.transcribe(values[0]).text", data("en.wav"));
  python.close();
  files = await serve({ "/digits.apr": MODEL, ...runtime.folders }, { isShared: true });
  browser = await open();
  app = mkdtempSync(join(NPM_PROJECT, "app-"));
  const page = '<link rel="icon" href="data:," /><script type="module" src="main.js"></script>';
  writeFileSync(join(app, "index.html"), page);
  writeFileSync(join(app, "vite.config.js"), `export default {
    optimizeDeps: { exclude: ["whisper-apr"] },
    server: { headers: ${JSON.stringify(ISOLATION)} },
  };\n`);
});
after(async () => {
  await browser?.browser.close();
  files?.close();
  for (const close of closing) close();
  if (app) rmSync(app, { recursive: true, force: true });
});
afterEach(() => assert.deepEqual(browser.errors.splice(0), [], "errors in the console"));

/** Write the page's module. It loads the model, transcribes and listens, and puts the results in `window.results`. */
function write(head, option = "") {
  const options = JSON.stringify({ model: `${files.url}digits.apr`, ...runtime.options(files.url) });
  const main = `${head}
import { Whisper, decodeAudio } from "whisper-apr";
import { pipeline } from "whisper-apr/pipeline";

const options = { threads: 2, ...${options}, ${option} };
window.run = async (base64) => {
  const samples = await decodeAudio(await (await fetch("data:audio/wav;base64," + base64)).blob());
  const whisper = await Whisper.load(options);
  const texts = [];
  for await (const { text } of whisper.segments(samples)) texts.push(text);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const captions = whisper.live(stream);
  setTimeout(() => captions.stop(), 4000);
  let n = 0;
  for await (const _ of captions) n++;
  const { threads } = whisper;
  whisper.close();
  return { threads, text: texts.join(""), n, hasPipeline: typeof pipeline === "function" };
};
`;
  writeFileSync(join(app, "main.js"), main);
}

const build = (folder, ...more) => {
  const argv = [VITE, "build", "--outDir", folder, "--emptyOutDir", "--logLevel", "warn", ...more];
  return execFileSync(process.execPath, argv, { cwd: app, encoding: "utf-8", stdio: ["ignore", "pipe", "pipe"] });
};

async function check(url) {
  const page = await browser.page(url);
  await page.waitForFunction(() => window.run);
  const found = await page.evaluate((bytes) => window.run(bytes), base64("en.wav"));
  assert.equal(found.text, text);
  assert.equal(found.threads, 2);
  assert.ok(found.n > 0, "no live text");
  assert.ok(found.hasPipeline);
  await page.context().close();
}

test("vite build: the worker is bundled, and the wheel is an asset", async () => {
  write("");
  const folder = join(app, "dist");
  build(folder);
  const names = readdirSync(join(folder, "assets"));
  assert.equal(names.filter((name) => name.endsWith(".whl")).length, 1, names.join());
  assert.equal(names.filter((name) => /^worker.*\.js$/.test(name)).length, 1, names.join());
  const site = await serve({ "/": folder }, { isIsolated: true });
  await check(site.url);
  assert.ok(site.requests.some((path) => /^\/assets\/worker-.*\.js$/.test(path)), site.requests.join());
  site.close();
});

test("vite build with assets of another origin, where the option worker names the bundled worker", async () => {
  write('import worker from "whisper-apr/worker.js?worker&url";', "worker");
  const folder = join(app, "dist-cdn");
  mkdirSync(folder);
  const cdn = await serve({ "/": folder }, { isShared: true });
  build(folder, "--base", cdn.url);
  const site = await serve({ "/": folder }, { isIsolated: true });
  await check(site.url);
  assert.deepEqual([...new Set(site.requests)], ["/"]);
  assert.ok(cdn.requests.some((path) => /^\/assets\/worker-.*\.js$/.test(path)), cdn.requests.join());
  site.close();
  cdn.close();
});

test("vite's development server, with the package excluded from its optimization", async () => {
  write("");
  const child = spawn(process.execPath, [VITE, "--port", "0", "--host", "127.0.0.1"], { cwd: app });
  closing.push(() => child.kill());
  let output = "";
  child.stdout.on("data", (some) => (output += some));
  await until(() => /http:\/\/127\.0\.0\.1:\d+\//.test(output.replace(/\x1b\[\d+m/g, "")));
  const [url] = /http:\/\/127\.0\.0\.1:\d+\//.exec(output.replace(/\x1b\[\d+m/g, ""));
  await check(url);
  child.kill();
});

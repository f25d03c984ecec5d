// Shared by the tests of the npm package: servers for its files, Chromium, and Python's results for the same sound.
//
// Environment variables, besides those of tests/browser/harness.mjs: NPM_PACKAGE, the folder of the unpacked tarball;
// NPM_PROJECT, a folder in whose node_modules the tarball and Vite are installed. wheels/npm.sh sets them.
import { spawn } from "node:child_process";
import { createReadStream, readFileSync, readdirSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { basename, dirname, extname, join } from "node:path";
import { createInterface } from "node:readline";
import { ARGUMENTS, SLOW, convert, data } from "../browser/harness.mjs";
import { which } from "../browser/engines.mjs";

const { BROWSER_PYTHON, BROWSER_MODULES, NPM_PACKAGE, WHISPER_APR_PYODIDE_NUMPY } = process.env;
const { chromium } = createRequire(`${BROWSER_MODULES}/`)("playwright-core");

export { SLOW, data };
export const PACKAGE = NPM_PACKAGE;
/** The digits model, whose matrices have 8 bits. */
export const MODEL = convert("int8");
export const WHEEL = readdirSync(PACKAGE).find((name) => name.endsWith(".whl"));
export const { version: VERSION } = JSON.parse(readFileSync(join(PACKAGE, "package.json"), "utf-8"));

const SCRIPT = "text/javascript";
const TYPES = { ".html": "text/html", ".js": SCRIPT, ".mjs": SCRIPT, ".wasm": "application/wasm" };
export const ISOLATION = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};
const BLANK = '<!doctype html><link rel="icon" href="data:," />';

/**
 * Serve files on a port of their own, which is an origin of its own: `folders` maps a path such as "/package/" to a
 * folder, or the path of a single file to that file. "/" is an empty page unless it is in `folders`. Pages of other
 * origins may read the files if `isShared`; the server's own are cross-origin isolated if `isIsolated`. `requests`
 * lists the paths.
 */
export async function serve(folders, { isShared = false, isIsolated = false } = {}) {
  const requests = [];
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    requests.push(path);
    if (isShared) response.setHeader("access-control-allow-origin", "*");
    if (isIsolated) for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
    const isIn = (prefix) => (prefix.endsWith("/") ? path.startsWith(prefix) : path === prefix);
    const found = Object.entries(folders).find(([prefix]) => isIn(prefix));
    if (!found) {
      if (path === "/") response.setHeader("content-type", "text/html").end(BLANK);
      else response.writeHead(404).end();
      return;
    }
    const [prefix, place] = found;
    const rest = path.slice(prefix.length);
    const file = prefix.endsWith("/") ? join(place, rest === "" ? "index.html" : rest) : place;
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      response.writeHead(404).end();
      return;
    }
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": size, etag: `"${size}"` });
    if (request.method === "HEAD") response.end();
    else createReadStream(file).pipe(response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${server.address().port}/`, requests, close };
}

/** Folders with Pyodide and NumPy for `serve`, and the options of `Whisper.load` that name them. */
export const runtime = WHISPER_APR_PYODIDE_NUMPY
  ? {
      folders: { "/pyodide/": `${BROWSER_MODULES}/pyodide`, "/numpy/": dirname(WHISPER_APR_PYODIDE_NUMPY) },
      options: (url) => ({ pyodide: `${url}pyodide/`, numpy: `${url}numpy/${basename(WHISPER_APR_PYODIDE_NUMPY)}` }),
    }
  : { folders: {}, options: () => ({}) };

/** Start Chromium. `page(url)` opens a page with a new profile, whose console errors are added to `errors`. */
export async function open() {
  const browser = await chromium.launch({ executablePath: which("chromium"), args: ARGUMENTS });
  const errors = [];
  return {
    browser,
    errors,
    async page(url, prepare = () => {}) {
      const context = await browser.newContext({ permissions: ["microphone"] });
      const page = await context.newPage();
      page.setDefaultTimeout(SLOW);
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
      page.on("pageerror", (error) => errors.push(String(error)));
      await prepare(context);
      await page.goto(url);
      return page;
    },
  };
}

/**
 * Start Python with MODEL as `model`. `python(script, ...values)` runs a script, which puts its result in `found`.
 */
export function startPython() {
  const server = `
import json, sys
import numpy as np, soundfile
from whisper_apr import LiveTranscriber, load_model
model = load_model(sys.argv[1])
def read(name):
    return soundfile.read(name, dtype="float32")[0]
for line in sys.stdin:
    script, values = json.loads(line)
    scope = globals() | {"values": values}
    exec(script, scope)
    print(json.dumps(scope["found"]), flush=True)
`;
  const child = spawn(BROWSER_PYTHON, ["-c", server, MODEL], { stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const python = async (script, ...values) => {
    child.stdin.write(`${JSON.stringify([script, values])}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error(`Python ended: ${script}`);
    return JSON.parse(value);
  };
  return Object.assign(python, { close: () => child.kill() });
}

const INEXACT = ["probability", "avg_logprob", "no_speech_prob"]; // which differ in the last digits between kernels

/** Return a result without its probabilities. */
export const exact = (value) =>
  JSON.parse(JSON.stringify(value, (key, field) => (INEXACT.includes(key) ? undefined : field)));

export const base64 = (name) => readFileSync(data(name)).toString("base64");

export async function until(holds) {
  for (const end = Date.now() + SLOW; !(await holds()); ) {
    if (Date.now() > end) throw new Error(`timeout: ${holds}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

// Shared by the browser tests: `whisper-apr web`, a proxy in front of it that can inject faults, Chromium, and the
// results of Python for the same recordings.
//
// Environment variables, set by wheels/browser.sh: BROWSER_PYTHON, an interpreter with whisper_apr; BROWSER_MODULES, a
// node_modules folder with playwright-core, pyodide and ws; BROWSER_WHEEL, the wheel for Pyodide; BROWSER_ENGINE;
// WHISPER_APR_PYODIDE_NUMPY, NumPy's wheel for Pyodide. Without the last, Pyodide and NumPy are loaded from the web.
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { which } from "./engines.mjs";

const { BROWSER_PYTHON, BROWSER_MODULES, BROWSER_WHEEL, WHISPER_APR_PYODIDE_NUMPY } = process.env;
const { chromium } = createRequire(`${BROWSER_MODULES}/`)("playwright-core");

export const SLOW = 180_000; // timeout in milliseconds, for a busy machine
export const SPOKEN = "en.wav"; // the fake microphone plays it once, from when it is opened
export const data = (name) => fileURLToPath(new URL(`../data/${name}`, import.meta.url));

export const ARGUMENTS = [
  ...["--no-sandbox", "--disable-gpu", "--no-first-run"],
  ...["--disable-background-networking", "--disable-component-update", "--disable-sync"],
  ...["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
  `--use-file-for-fake-audio-capture=${data(SPOKEN)}%noloop`,
];

/** Convert a model, by default digits, to an .apr file whose matrices have `dtype`, and return its path. */
export function convert(dtype, model = "digits") {
  const path = join(mkdtempSync(join(tmpdir(), "whisper-apr-")), `${dtype}.apr`);
  execFileSync(BROWSER_PYTHON, ["-m", "whisper_apr", "convert", model, path, "--dtype", dtype], { stdio: "ignore" });
  return path;
}

/** Write a model with the dimensions of a published one and random weights to an .apr file, and return its path. */
export function randomModel(name) {
  const path = join(mkdtempSync(join(tmpdir(), "whisper-apr-")), `${name}.apr`);
  const script = `
import sys
from whisper_apr.bench.models import DIMENSIONS, random_checkpoint
from whisper_apr.formats.apr import write_apr
write_apr(random_checkpoint(DIMENSIONS[sys.argv[1]]), sys.argv[2])
`;
  execFileSync(BROWSER_PYTHON, ["-c", script, name, path]);
  return path;
}

/** Transcribe recordings with Python and the page's model. Returns text, language and files. */
export const native = (...names) => nativeWith("digits", {}, ...names);

/** The same, with the options of the page. */
export const nativeAsPage = (...names) => nativeWith("digits", { audio_context: "auto" }, ...names);

export function nativeWith(model, options, ...names) {
  const script = `
import io, json, sys
from whisper_apr import load_model, simd
from whisper_apr.output import FORMATS, write
def written(result, format):
    file = io.StringIO()
    write(result, format, file)
    return file.getvalue()
# which rounds as the page does: four lanes, no fused multiply-add; with others, a few words of real speech differ
if "sse2" in simd.backends():
    simd.use_backend("sse2")
model, options, truth = load_model(sys.argv[1]), json.loads(sys.argv[2]), {}
for path in sys.argv[3:]:
    result = model.transcribe(path, word_timestamps=True, **options)
    files = {format: written(result, format) for format in FORMATS}
    truth[path] = {"text": result.text, "language": result.language, **files}
print(json.dumps(truth))
`;
  const paths = names.map((name) => (isAbsolute(name) ? name : data(name)));
  const argv = ["-c", script, model, JSON.stringify(options), ...paths];
  const truth = JSON.parse(execFileSync(BROWSER_PYTHON, argv, { encoding: "utf-8" }));
  return Object.fromEntries(names.map((name, i) => [name, truth[paths[i]]]));
}

/** Start `whisper-apr web` with more arguments, and return the process and its address. */
export async function serve(more = []) {
  const places = WHISPER_APR_PYODIDE_NUMPY
    ? ["--numpy", WHISPER_APR_PYODIDE_NUMPY, "--pyodide", `${BROWSER_MODULES}/pyodide`]
    : [];
  const argv = ["-m", "whisper_apr", "web", "--port", "0", "--wheel", BROWSER_WHEEL, ...places, ...more];
  const child = spawn(BROWSER_PYTHON, argv, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(child.stdout)) return { child, url: line.split(" ")[0] };
  throw new Error("whisper-apr web ended before it printed its address");
}

const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

/**
 * A proxy in front of the server. If `fault(request, response, answer)` is set and returns true, it has written the
 * response itself; `answer` is the server's. `fault` sees requests for the model, `faults[path]` those for other files.
 */
export class FaultyProxy {
  requests = []; // for the model: [method, range]
  fault = null;
  faults = {};
  counts = {}; // of requests, by path
  log = []; // all requests: "METHOD /path"
  sizes = {}; // bytes of the last response, by path
  isolated = true; // whether pages are cross-origin isolated, as the server's are

  constructor(upstream) {
    this.server = createServer((request, response) =>
      this.#forward(upstream, request, response).catch(() => response.destroy()),
    );
  }

  async open() {
    await new Promise((done) => this.server.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }

  async #forward(upstream, { method, url, headers }, response) {
    this.counts[url] = (this.counts[url] ?? 0) + 1;
    this.log.push(`${method} ${url}`);
    if (url === "/blank") {
      response.setHeader("content-type", "text/html");
      if (this.isolated) for (const [name, value] of Object.entries(ISOLATION)) response.setHeader(name, value);
      response.end('<!doctype html><link rel="icon" href="data:," />');
      return;
    }
    const isModel = url.endsWith(".apr");
    if (isModel) this.requests.push([method, headers.range ?? null]);
    const range = headers.range ? { range: headers.range } : {};
    const answer = await fetch(new URL(url, upstream), { method, headers: range });
    const body = Buffer.from(await answer.arrayBuffer());
    const kept = ["content-type", "content-length", "content-range", "etag", "cache-control", "accept-ranges"];
    if (this.isolated) kept.push(...Object.keys(ISOLATION));
    this.sizes[url] = body.length;
    const forwarded = Object.fromEntries([...answer.headers].filter(([name]) => kept.includes(name)));
    const real = { status: answer.status, headers: forwarded, body };
    const fault = isModel ? this.fault : this.faults[url];
    if (fault && (await fault({ method, range: headers.range }, response, real))) return;
    response.writeHead(answer.status, forwarded);
    response.end(body);
  }
}

/** Run a script in the worker before its own. */
export function inWorker(proxy, script) {
  proxy.faults["/worker.js"] = (_, response, { status, headers, body }) => {
    delete headers["content-length"];
    response.writeHead(status, headers).end(`${script}\n${body}`);
    return true;
  };
}

/** Let the worker see no JavaScript Promise Integration. */
export const withoutPromiseIntegration = (proxy) =>
  inWorker(proxy, "delete WebAssembly.Suspending; delete WebAssembly.promising;");

/**
 * Start the server (with more arguments), the proxy and Chromium for a file of tests. `page()` opens a page with a new
 * profile, whose errors are added to `errors`; `end()` closes everything.
 */
export async function start(more = []) {
  const { child, url } = await serve(more);
  const proxy = await new FaultyProxy(url).open();
  const browser = await chromium.launch({ executablePath: which("chromium"), args: ARGUMENTS });
  const errors = [];
  return {
    proxy,
    browser,
    errors,
    async page(place = "", options = {}) {
      const context = await browser.newContext({ viewport: { width: 900, height: 900 }, ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(SLOW);
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(proxy.url + place);
      return page;
    },
    async end() {
      await browser.close();
      proxy.server.closeAllConnections();
      proxy.server.close();
      child.kill();
    },
  };
}

/** Wait until the page's status matches a pattern. */
export const waitForStatus = (page, { source }) =>
  page.waitForFunction((text) => new RegExp(text).test(document.getElementById("status").textContent), source, {
    timeout: SLOW,
  });

/** Return the text that the page shows. */
export const shownText = async (page) => (await page.locator("#segments .text").allTextContents()).join(" ");

/** Return a WAV file of 16-bit mono samples. */
export function wav(samples, rate = 16000) {
  const file = Buffer.alloc(44 + 2 * samples.length);
  file.write("RIFF\0\0\0\0WAVEfmt ", 0, "latin1");
  file.writeUInt32LE(file.length - 8, 4);
  file.writeUInt32LE(16, 16);
  [[1, 20], [1, 22], [2, 32], [16, 34]].forEach(([value, at]) => file.writeUInt16LE(value, at));
  file.writeUInt32LE(rate, 24);
  file.writeUInt32LE(2 * rate, 28);
  file.write("data", 36, "latin1");
  file.writeUInt32LE(2 * samples.length, 40);
  samples.forEach((sample, i) => file.writeInt16LE(sample, 44 + 2 * i));
  return file;
}

/** Write a recording to a file, and return its path: a voice, a higher one that speaks twice, and the first one. */
export function twoVoices() {
  const bytes = readFileSync(data(SPOKEN)).subarray(44);
  const low = Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readInt16LE(2 * i));
  const at = (time) => low[Math.floor(time)] + (time % 1) * (low[Math.ceil(time)] - low[Math.floor(time)]);
  const high = Array.from({ length: Math.floor((low.length - 1) / 1.4) }, (_, i) => Math.round(at(1.4 * i)));
  const path = join(mkdtempSync(join(tmpdir(), "whisper-apr-")), "two voices.wav");
  writeFileSync(path, wav([low, high, high, low].flat()));
  return path;
}

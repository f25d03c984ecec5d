// What the browser's tests share: `whisper-apr web`, a server before it that can do wrong, Chromium, and what Python makes of the recordings.
//
// The environment (wheels/browser.sh sets it): BROWSER_PYTHON, an interpreter with whisper_apr; BROWSER_MODULES, a node_modules folder with
// playwright-core and pyodide; BROWSER_WHEEL, the wheel for Pyodide; BROWSER_CHROMIUM; WHISPER_APR_PYODIDE_NUMPY, NumPy's wheel for Pyodide,
// else Pyodide and NumPy come from their usual place.
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const { BROWSER_PYTHON, BROWSER_MODULES, BROWSER_WHEEL, BROWSER_CHROMIUM, WHISPER_APR_PYODIDE_NUMPY } = process.env;
const { chromium } = createRequire(`${BROWSER_MODULES}/`)("playwright-core");

export const SLOW = 180_000; // milliseconds that anything may take on a busy machine
export const SPOKEN = "en.wav"; // what the microphone hears, once, from when it is opened
export const data = (name) => fileURLToPath(new URL(`../data/${name}`, import.meta.url));

const ARGUMENTS = [
  ...["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  ...["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", `--use-file-for-fake-audio-capture=${data(SPOKEN)}%noloop`],
];

/** The digits model as a file with matrices of `dtype`. */
export function convert(dtype) {
  const path = join(mkdtempSync(join(tmpdir(), "whisper-apr-")), `${dtype}.apr`);
  execFileSync(BROWSER_PYTHON, ["-m", "whisper_apr", "convert", "digits", path, "--dtype", dtype], { stdio: "ignore" });
  return path;
}

/** The text and the files that Python makes of the recordings, with the model and the defaults that the page has. */
export const native = (...names) => nativeWith("digits", ...names);

export function nativeWith(model, ...names) {
  const script = `
import io, json, sys
from whisper_apr import load_model
from whisper_apr.output import write
def written(result, format):
    file = io.StringIO()
    write(result, format, file)
    return file.getvalue()
model, truth = load_model(sys.argv[1]), {}
for path in sys.argv[2:]:
    result = model.transcribe(path)
    truth[path] = {"text": result.text, "language": result.language, **{f: written(result, f) for f in ("txt", "srt", "vtt")}}
print(json.dumps(truth))
`;
  const truth = JSON.parse(execFileSync(BROWSER_PYTHON, ["-c", script, model, ...names.map(data)], { encoding: "utf-8" }));
  return Object.fromEntries(names.map((name) => [name, truth[data(name)]]));
}

async function serve() {
  const places = WHISPER_APR_PYODIDE_NUMPY ? ["--numpy", WHISPER_APR_PYODIDE_NUMPY, "--pyodide", `${BROWSER_MODULES}/pyodide`] : [];
  const argv = ["-m", "whisper_apr", "web", "--port", "0", "--wheel", BROWSER_WHEEL, ...places];
  const child = spawn(BROWSER_PYTHON, argv, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const line of createInterface(child.stdout)) return { child, url: line.split(" ")[0] };
  throw new Error("whisper-apr web has ended");
}

/** A server before the real one. `fault(request, response, answer)`, where it is set and returns true, answers in its own way; `answer` is the real one. */
class Front {
  requests = []; // of the model: [method, range]
  fault = null;

  constructor(upstream) {
    this.server = createServer((request, response) => this.#pass(upstream, request, response).catch(() => response.destroy()));
  }

  async open() {
    await new Promise((done) => this.server.listen(0, "127.0.0.1", done));
    this.url = `http://127.0.0.1:${this.server.address().port}/`;
    return this;
  }

  async #pass(upstream, { method, url, headers }, response) {
    if (url === "/blank") {
      response.setHeader("content-type", "text/html");
      response.end('<!doctype html><link rel="icon" href="data:," />');
      return;
    }
    const isModel = url === "/model.apr";
    if (isModel) this.requests.push([method, headers.range ?? null]);
    const range = headers.range ? { range: headers.range } : {};
    const answer = await fetch(new URL(url, upstream), { method, headers: range });
    const body = Buffer.from(await answer.arrayBuffer());
    const kept = ["content-type", "content-length", "content-range", "etag", "cache-control", "accept-ranges"];
    const known = Object.fromEntries(kept.filter((name) => answer.headers.has(name)).map((name) => [name, answer.headers.get(name)]));
    if (isModel && this.fault && (await this.fault({ method, range: headers.range }, response, { status: answer.status, headers: known, body }))) return;
    response.writeHead(answer.status, known);
    response.end(body);
  }
}

/** Everything for a file of tests: `page()` gives a new page in a profile of its own that notes each error, `end()` closes all and tells them. */
export async function start() {
  const { child, url } = await serve();
  const front = await new Front(url).open();
  const browser = await chromium.launch({ executablePath: BROWSER_CHROMIUM, args: ARGUMENTS });
  const errors = [];
  return {
    front,
    browser,
    errors,
    async page(place = "", options = {}) {
      const context = await browser.newContext({ viewport: { width: 900, height: 900 }, ...options });
      const page = await context.newPage();
      page.setDefaultTimeout(SLOW);
      page.on("console", (message) => ["error", "warning"].includes(message.type()) && errors.push(message.text()));
      page.on("pageerror", (error) => errors.push(String(error)));
      await page.goto(front.url + place);
      return page;
    },
    async end() {
      await browser.close();
      front.server.closeAllConnections();
      front.server.close();
      child.kill();
    },
  };
}

/** Wait for what the page says of its state. */
export const says = (page, pattern) =>
  page.waitForFunction((source) => new RegExp(source).test(document.getElementById("status").textContent), pattern.source, { timeout: SLOW });

/** A WAV file of 16-bit mono samples. */
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

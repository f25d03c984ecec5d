// Compare wasm128 with onnxruntime-web, under node and in Chromium: the same random weights of `tiny`, one thread,
// medians of one run in which the engines alternate.
//
//   npm install --prefix PEERS onnxruntime-web
//   PYTHONPATH=benchmarks python -c 'from pathlib import Path; from engines import ort
//   from whisper_apr.bench.models import *
//   ort.prepare(random_checkpoint(DIMENSIONS["tiny"]), Path("PEERS"))'
//   node benchmarks/web_peers.mjs PEERS [docs/performance/browser.json]
//
// The environment variables are those of tests/browser/harness.mjs, including the one for Pyodide's NumPy.
import { createReadStream, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { start } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

const [peers, json] = process.argv.slice(2);
const { BROWSER_MODULES, BROWSER_WHEEL, WHISPER_APR_PYODIDE_NUMPY } = process.env;
const ORT = join(resolve(peers), "node_modules/onnxruntime-web");
const ROUNDS = 5;

/**
 * Return the milliseconds of each engine. The function also runs in a page, so it uses nothing but its arguments.
 * `read(name)` returns a file's bytes.
 */
async function measure(ort, python, read, rounds) {
  const FEW = 4; // the time of as many steps is subtracted, which cancels the cost of the prompt
  const MANY = 54;
  const PROMPT = [50258n, 50259n, 50359n, 50363n];
  const TYPES = ["float32", "int8"];
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";

  python.runPython(`
from whisper_apr.audio import log_mel_spectrogram
from whisper_apr.bench import models, pipeline
from whisper_apr.model import Whisper
weights = models.random_checkpoint(models.DIMENSIONS["tiny"])
mel = log_mel_spectrogram(pipeline.noise_window(), 80)

class Engine:
    def __init__(self, compute_type):
        self.model = Whisper(weights, compute_type)
    def encode(self):
        self.features = self.model.embed_audio(mel[None])
    def greedy(self, n):
        return pipeline.greedy_tokens(self.model, self.features, n)
`);
  const view = python.runPython("mel").getBuffer("f32");
  const mel = new ort.Tensor("float32", Float32Array.from(view.data), [1, 80, 3000]);
  view.release();

  const ours = (type) => {
    const engine = python.runPython(`Engine("${type}")`);
    return { name: "whisper_apr", type, encode: () => engine.encode(), greedy: (n) => engine.greedy(n).toJs() };
  };

  const onnxruntime = async (type) => {
    const options = { executionProviders: ["wasm"] };
    const open = async (part) => ort.InferenceSession.create(await read(`${part}.${type}.onnx`), options);
    const encoder = await open("encoder");
    const decoder = await open("decoder");
    let features;
    const encode = async () => (features = await encoder.run({ mel }));
    const greedy = async (n) => {
      const state = { ...features };
      const empty = new ort.Tensor("float32", [], [1, 6, 0, 64]);
      for (const name of decoder.inputNames) if (name.startsWith("past")) state[name] = empty;
      let tokens = PROMPT;
      const chosen = [];
      for (let i = 0; i < n; i++) {
        const input = new ort.Tensor("int64", BigInt64Array.from(tokens), [1, tokens.length]);
        const { logits, ...newState } = await decoder.run({ tokens: input, ...state });
        for (const [name, value] of Object.entries(newState)) state[name.replace("new", "past")] = value;
        const last = logits.data.subarray(logits.data.length - logits.dims[2]);
        let best = 0;
        for (let j = 1; j < last.length; j++) if (last[j] > last[best]) best = j;
        chosen.push(best);
        tokens = [BigInt(best)];
      }
      return chosen;
    };
    return { name: "onnxruntime-web", type, encode, greedy };
  };

  const engines = [];
  for (const type of TYPES) engines.push(ours(type), await onnxruntime(type));
  const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  const timed = async (run) => {
    const begin = performance.now();
    await run();
    return performance.now() - begin;
  };
  const times = engines.map(() => ({ encoder: [], few: [], many: [] }));
  for (const engine of engines) {
    await engine.encode();
    engine.tokens = (await engine.greedy(FEW)).slice(0, FEW);
  }
  for (let round = 0; round < rounds; round++) {
    for (const [i, { encode, greedy }] of engines.entries()) {
      times[i].encoder.push(await timed(encode));
      times[i].few.push(await timed(() => greedy(FEW)));
      times[i].many.push(await timed(() => greedy(MANY)));
    }
  }
  return engines.map(({ name, type, tokens }, i) => ({
    engine: name,
    type,
    encoder: median(times[i].encoder),
    token: (median(times[i].many) - median(times[i].few)) / (MANY - FEW),
    tokens: Array.from(tokens),
  }));
}

async function underNode() {
  const ort = await import(pathToFileURL(join(ORT, "dist/ort.node.min.mjs")).href);
  const { loadPyodide } = await import(pathToFileURL(join(BROWSER_MODULES, "pyodide/pyodide.mjs")).href);
  const python = await loadPyodide({ indexURL: join(BROWSER_MODULES, "pyodide/") });
  for (const wheel of [WHISPER_APR_PYODIDE_NUMPY, BROWSER_WHEEL]) {
    await python.loadPackage(resolve(wheel), { checkIntegrity: false, messageCallback() {} });
  }
  return measure(ort, python, (name) => readFileSync(join(peers, name)), ROUNDS);
}

async function inChromium(home) {
  // a second server for onnxruntime-web and its models
  const types = { mjs: "text/javascript", wasm: "application/wasm" };
  const server = createServer(({ url }, response) => {
    const path = url.startsWith("/dist/") ? join(ORT, url) : join(peers, url);
    if (!existsSync(path)) return response.writeHead(404).end();
    const type = types[url.split(".").at(-1)] ?? "application/octet-stream";
    response.writeHead(200, { "access-control-allow-origin": "*", "content-type": type });
    createReadStream(path).pipe(response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const place = `http://127.0.0.1:${server.address().port}`;
  const page = await home.page("blank");
  const rows = await page.evaluate(`(async () => {
    const ort = await import("${place}/dist/ort.wasm.min.mjs");
    const { pyodide, numpy, wheel } = await (await fetch("/settings.json")).json();
    const absolute = (url) => new URL(url, location.href).href;
    const { loadPyodide } = await import(absolute(pyodide) + "pyodide.mjs");
    const python = await loadPyodide({ indexURL: absolute(pyodide) });
    for (const place of [numpy, wheel]) await python.loadPackage([absolute(place)], { checkIntegrity: false });
    const read = async (name) => new Uint8Array(await (await fetch("${place}/" + name)).arrayBuffer());
    return (${measure})(ort, python, read, ${ROUNDS});
  })()`);
  server.closeAllConnections();
  server.close();
  return rows;
}

const home = await start();
const places = {
  [`node ${process.versions.node}`]: underNode,
  [`Chromium ${home.browser.version().split(".")[0]}`]: () => inChromium(home),
};
const rows = [];
for (const [where, run] of Object.entries(places)) {
  for (const row of await run()) {
    rows.push({ where, ...row });
    const times = `encoder ${row.encoder.toFixed(0)} ms, token ${row.token.toFixed(2)} ms`;
    console.log(where, row.engine, row.type, `${times}; ${row.tokens}`);
  }
}
await home.end();
if (json) {
  const version = JSON.parse(readFileSync(join(ORT, "package.json"), "utf-8")).version;
  save(json, { "onnxruntime-web": version }, { peers: rows });
}

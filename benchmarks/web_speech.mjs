// Time the transcription of recordings of people in Chromium with published models, beside transformers.js
// (onnxruntime-web) and whisper.cpp, with the same weights in int8, in one run in which the engines alternate.
//
//   npm install --prefix PEERS --ignore-scripts @huggingface/transformers @transcribe/shout @transcribe/transcriber
//   python benchmarks/web_models.py PEERS/models FOLDER/base FOLDER/tiny.en
//   node benchmarks/web_speech.mjs --peers PEERS --model base [--rounds 3] [--engines 'NAME;...']
//     [--json docs/performance/browser.json] RECORDING[:LANGUAGE]...
//
// LANGUAGE (default: en) is given to each engine, so that none detects it. All engines get the same samples, of at most
// 30 seconds, which transformers.js transcribes at once. A first round, in which browsers compile, is left out. An
// engine that takes over SLOW seconds for the first recording is only timed there, once. Differing words are counted
// from the text of the native package with the same file. In the JSON file, other models, engines and recordings are
// kept.
//
// The environment variables are those of tests/browser/harness.mjs.
import { execFileSync } from "node:child_process";
import { createReadStream, existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { loadavg, tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { nativeWith, start } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

const SLOW = 20;
const HEADERS = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };
const TYPES = { js: "text/javascript", mjs: "text/javascript", wasm: "application/wasm", json: "application/json" };

// An engine opens a page; `prepare` runs there and sets `transcribe(samples, language)`, which returns the text.
const ours = (options, more = {}) => ({ own: true, prepare: prepareOurs, settings: { options, more } });
const ENGINES = {
  whisper_apr: ours({ threads: 1 }),
  'whisper_apr, audio_context="auto"': ours({ threads: 1 }, { audio_context: "auto" }),
  "whisper_apr, fast": ours({ threads: 1, fast: true }),
  "whisper_apr, 2 threads": ours({ threads: 2 }),
  "transformers.js": { prepare: prepareTransformers },
  "whisper.cpp": { prepare: prepareWhisperCpp },
};

async function prepareOurs({ options, more }) {
  const { Whisper } = await import("/whisper.js");
  const whisper = await Whisper.load(options);
  if (whisper.threads !== options.threads) throw new Error(`${whisper.threads} threads`);
  if (whisper.fast !== (options.fast ?? false)) throw new Error("the browser has no relaxed SIMD");
  window.transcribe = async (samples, language) => (await whisper.transcribe(samples, { language, ...more })).text;
}

async function prepareTransformers({ model }) {
  const { env, pipeline } = await import("/node_modules/@huggingface/transformers/dist/transformers.min.js");
  Object.assign(env, { allowLocalModels: true, allowRemoteModels: false, useBrowserCache: false });
  env.localModelPath = "/models/";
  const dist = "/node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify"; // its choice, on a CDN
  env.backends.onnx.wasm.wasmPaths = { mjs: `${dist}.mjs`, wasm: `${dist}.wasm` };
  env.backends.onnx.wasm.numThreads = 1;
  const options = { dtype: "q8", device: "wasm" };
  const transcriber = await pipeline("automatic-speech-recognition", model, options);
  const isEnglish = model.endsWith(".en");
  window.transcribe = async (samples, language) => {
    const result = await transcriber(samples, { return_timestamps: true, ...(isEnglish ? {} : { language }) });
    return result.text;
  };
}

async function prepareWhisperCpp({ model }) {
  const { default: createModule } = await import("/node_modules/@transcribe/shout/src/shout/shout.wasm.js");
  const { FileTranscriber } = await import("/node_modules/@transcribe/transcriber/src/index.js");
  const quiet = { print: () => {}, printErr: () => {} };
  const transcriber = new FileTranscriber({ createModule, model: `/models/${model}-q8_0.bin`, ...quiet });
  await transcriber.init();
  window.transcribe = async (_, lang, file) => {
    const recording = await (await fetch(file)).blob();
    const { transcription } = await transcriber.transcribe(recording, { lang, threads: 1, token_timestamps: false });
    return transcription.map(({ text }) => text).join("");
  };
}

/** Serve PEERS and the recordings from an origin whose pages are cross-origin isolated. */
async function servePeers(folders) {
  const server = createServer(({ url }, response) => {
    if (url === "/blank") {
      return response.writeHead(200, { ...HEADERS, "content-type": "text/html" }).end("<!doctype html>");
    }
    const places = folders.map((folder) => join(folder, decodeURI(url)));
    const path = places.find((each) => statSync(each, { throwIfNoEntry: false }));
    if (!path) return response.writeHead(404).end();
    const type = TYPES[path.split(".").at(-1)] ?? "application/octet-stream";
    const length = statSync(path).size;
    const cors = { "access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin" };
    response.writeHead(200, { ...HEADERS, ...cors, "content-type": type, "content-length": length });
    return createReadStream(path).pipe(response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return { server, url: `http://127.0.0.1:${server.address().port}` };
}

const python = (script, ...argv) =>
  execFileSync(process.env.BROWSER_PYTHON, ["-c", script, ...argv], { encoding: "utf-8" });

const WRITE = `
import sys, wave
from pathlib import Path
from whisper_apr import load_audio
for path in sys.argv[2:]:
    samples = load_audio(path)
    target = Path(sys.argv[1], Path(path).name)
    target.with_suffix(".f32").write_bytes(samples.tobytes())
    with wave.open(str(target.with_suffix(".wav")), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes((samples * 32768).round().clip(-32768, 32767).astype("<i2").tobytes())
`;
const COUNT = `
import json, sys
from whisper_apr.evaluation import count_edits
from whisper_apr.normalizers import BasicTextNormalizer
words = lambda text: BasicTextNormalizer()(text).split()
print(json.dumps([count_edits(words(true), words(heard)).errors for true, heard in json.loads(sys.argv[1])]))
`;

const { values, positionals } = parseArgs({
  options: {
    peers: { type: "string" },
    model: { type: "string", default: "base" },
    rounds: { type: "string", default: "3" },
    engines: { type: "string", default: Object.keys(ENGINES).join(";") },
    json: { type: "string" },
  },
  allowPositionals: true,
});
const peers = resolve(values.peers);
const apr = join(peers, "models", `${values.model}-int8.apr`);
const recordings = positionals.map((each) => {
  const [, path, language = "en"] = each.match(/^(.*?)(?::(\w+))?$/);
  return { path, language, name: basename(path), stem: basename(path).replace(/\.[^.]*$/, "") };
});
const temporary = mkdtempSync(join(tmpdir(), "whisper-apr-"));
python(WRITE, temporary, ...recordings.map(({ path }) => path));
const native = {};
for (const { path, language } of recordings) Object.assign(native, nativeWith(apr, { language }, path));

const { server, url } = await servePeers([temporary, peers]);
const home = await start(["--model", apr]);
const pages = {};
for (const name of values.engines.split(";")) {
  const { own, prepare, settings } = ENGINES[name];
  pages[name] = own ? await home.page("blank") : await (await home.browser.newContext()).newPage();
  pages[name].setDefaultTimeout(0);
  if (!own) await pages[name].goto(`${url}/blank`);
  await pages[name].evaluate(prepare, settings ?? { model: values.model });
}

/** Transcribe a recording with an engine, and return the seconds and the text. */
const run = (name, { stem, language }) =>
  pages[name].evaluate(
    async ([file, language]) => {
      const samples = new Float32Array(await (await fetch(`${file}.f32`)).arrayBuffer());
      const begin = performance.now();
      const text = await window.transcribe(samples, language, `${file}.wav`);
      return { seconds: (performance.now() - begin) / 1000, text: text.trim() };
    },
    [`${url}/${stem}`, language],
  );

const found = Object.keys(pages).map((engine) => recordings.map(() => ({ engine, seconds: [], text: "" })));
const engines = Object.keys(pages);
const slow = new Set();
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const [j, recording] of recordings.entries()) {
    for (const i of round % 2 ? engines.keys() : [...engines.keys()].reverse()) {
      if (slow.has(i)) continue;
      const { seconds, text } = await run(engines[i], recording);
      if (round === 0 && j === 0 && seconds > SLOW) slow.add(i);
      if (round === 0 && !slow.has(i)) continue;
      found[i][j].seconds.push(seconds);
      found[i][j].text = text;
      console.log(`round ${round}, ${recording.name}, ${engines[i]}: ${seconds.toFixed(2)} s`);
    }
  }
}
const rows = recordings.flatMap(({ name, path }, j) =>
  found
    .map((of) => of[j])
    .filter(({ seconds }) => seconds.length)
    .map((row) => ({ model: values.model, recording: name, ...row, native: native[path].text.trim() })),
);
const counts = JSON.parse(python(COUNT, JSON.stringify(rows.map(({ native, text }) => [native, text]))));
const middle = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
rows.forEach((row, i) => {
  row.differing = counts[i];
  const all = row.seconds.map((each) => each.toFixed(2)).join(" ");
  const what = `${row.model}, ${row.recording}, ${row.engine}`;
  console.log(`${what}: ${middle(row.seconds).toFixed(2)} s (${all}), ${row.differing} words differ`);
  if (row.differing) console.log(`  ${row.text}\n  natively: ${row.native}`);
});
console.log(`load ${loadavg().map((each) => each.toFixed(1)).join(" ")}`);
await home.end();
server.closeAllConnections();
server.close();
rmSync(temporary, { recursive: true });
if (values.json) {
  const modules = join(peers, "node_modules");
  const version = (name) => JSON.parse(readFileSync(join(modules, name, "package.json"), "utf-8")).version;
  const versions = { Chromium: home.browser.version() };
  for (const name of ["@huggingface/transformers", "@transcribe/shout"]) versions[name] = version(name);
  const key = ({ model, engine, recording }) => [model, engine, recording].join();
  const measured = new Set(rows.map(key));
  const { speech = [] } = existsSync(values.json) ? JSON.parse(readFileSync(values.json, "utf-8")) : {};
  save(values.json, versions, { speech: [...speech.filter((row) => !measured.has(key(row))), ...rows] });
}

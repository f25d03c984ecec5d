// Measure the encoder in Chromium on one and on several threads, with and without relaxed SIMD, alternately, with
// random weights in int8.
//
//   node benchmarks/threads.mjs [--model base] [--threads 2] [--rounds 9] [docs/performance/browser.json]
//
// The environment variables are those of tests/browser/harness.mjs.
import { parseArgs } from "node:util";
import { start } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

const { values, positionals } = parseArgs({
  options: {
    model: { type: "string", default: "base" },
    threads: { type: "string", default: "2" },
    rounds: { type: "string", default: "9" },
  },
  allowPositionals: true,
});
const threads = Number(values.threads);

const measure = `
import json, time
from whisper_apr import load_model, simd
from whisper_apr.audio import log_mel_spectrogram
from whisper_apr.bench import models, pipeline
from whisper_apr.formats.apr import write_apr

write_apr(models.random_checkpoint(models.DIMENSIONS["${values.model}"]), "/tmp/model.apr", "int8")
model = load_model("/tmp/model.apr", compute_type="int8")
mel = log_mel_spectrogram(pipeline.noise_window(), model.dims.n_mels)[None]
times = {(n, backend): [] for backend in ("wasm128", "wasm128relaxed") for n in (1, ${threads})}
for _ in range(${values.rounds} + 1):
    for (n, backend), found in times.items():
        simd.set_num_threads(n)
        with simd.use_backend(backend):
            begin = time.perf_counter()
            model.embed_audio(mel)
            found.append(1000 * (time.perf_counter() - begin))
# the first round compiles
json.dumps([{"threads": n, "backend": name, "ms": found[1:]} for (n, name), found in times.items()])
`;
const worker = `
onmessage = async ({ data: { base, places, threads, measure } }) => {
  const { startPython } = await import(base + "startup.js");
  const { shareMemory, startThreads } = await import(base + "threads.js");
  shareMemory();
  const { python } = await startPython(places, () => {});
  await startThreads(python, threads, 60_000);
  postMessage(python.runPython(measure));
};
`;

const home = await start();
const page = await home.page("blank");
const found = await page.evaluate(
  async ({ worker, threads, measure }) => {
    const settings = await (await fetch("/settings.json")).json();
    const all = { pyodide: "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/", ...settings };
    const urls = ["pyodide", "numpy", "wheel"].filter((name) => all[name]);
    const places = Object.fromEntries(urls.map((name) => [name, new URL(all[name], location.href).href]));
    const engine = new Worker(URL.createObjectURL(new Blob([worker], { type: "text/javascript" })), { type: "module" });
    const result = new Promise((done, fail) => {
      engine.onmessage = ({ data }) => done(data);
      engine.onerror = ({ message }) => fail(new Error(message));
    });
    Object.assign(places, { fast: true, timeout: 60_000 });
    engine.postMessage({ base: `${location.origin}/`, places, threads, measure });
    return result;
  },
  { worker, threads, measure },
);
const middle = (times) => times.toSorted((a, b) => a - b)[times.length >> 1];
const rows = JSON.parse(found);
for (const { threads, backend, ms } of rows) {
  const ratio = middle(rows[0].ms.map((slowest, i) => slowest / ms[i])).toFixed(2);
  const all = ms.map(Math.round).join(" ");
  const name = `encoder of ${values.model}, int8, ${threads} thread(s), ${backend}`;
  console.log(`${name}: ${middle(ms).toFixed(0)} ms, ${ratio} times as fast as the first (${all})`);
}
await home.end();
const [json] = positionals;
if (json) save(json, { Chromium: home.browser.version() }, { encoder: { model: values.model, rows } });

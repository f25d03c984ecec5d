// Measure wasm128 in Chromium: products on wasm128 and `scalar`, the stages of a 30 s window with random weights of
// `tiny`, and the transcription of a recording.
//
//   node benchmarks/browser.mjs [docs/performance/browser.json]
//
// The environment variables are those of tests/browser/harness.mjs.
import { readFileSync } from "node:fs";
import { data, start } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

// a page's clock has a resolution of 0.1 ms, so many calls are timed together
const clock = `
import time
from whisper_apr.bench import kernels, limits

def fastest_time(run, seconds):
    best = float("inf")
    end = time.perf_counter() + 2 * seconds
    while best == float("inf") or time.perf_counter() < end:
        n, begin = 0, time.perf_counter()
        while (spent := time.perf_counter() - begin) < 0.01:
            run()
            n += 1
        best = min(best, spent / n)
    return best

kernels.fastest_time = limits.fastest_time = fastest_time
`;
const products = `
from whisper_apr.bench.measure import table
figures = kernels.compare_backends()
print(table(kernels.HEAD, [figure.row() for figure in figures]))
`;
const window30 = `
from whisper_apr.bench import models, pipeline
from whisper_apr.model import Whisper
stages = pipeline.stages(Whisper(models.random_checkpoint(models.DIMENSIONS["tiny"])), 0.5)
print("tiny, ms:", ", ".join(f"{name} {time:.1f}" for name, time in stages.items()))
`;
const asJSON = `
import json
json.dumps({"head": kernels.HEAD, "products": [figure.row() for figure in figures], "window": stages})
`;
const home = await start();
console.log(`Chromium ${home.browser.version()}`);

const plain = await home.page("blank");
const [text, figures] = await plain.evaluate(
  async ([code, last]) => {
    const settings = await (await fetch("/settings.json")).json();
    const { pyodide = "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/", numpy = "numpy", wheel } = settings;
    const absolute = (url) => (url === "numpy" ? url : new URL(url, location.href).href);
    const { loadPyodide } = await import(absolute(pyodide) + "pyodide.mjs");
    const python = await loadPyodide({ indexURL: absolute(pyodide) });
    await python.loadPackage([absolute(numpy)], { checkIntegrity: false });
    await python.loadPackage([absolute(wheel)], { checkIntegrity: false });
    const lines = [];
    python.setStdout({ batched: (line) => lines.push(line) });
    python.runPython(code);
    return [lines.join("\n"), python.runPython(last)];
  },
  [clock + products + window30, asJSON],
);
console.log(text);
await plain.context().close();

const page = await home.page("blank");
const seconds = await page.evaluate(async (base64) => {
  const { Whisper, decodeAudio } = await import("/whisper.js");
  const start = performance.now();
  const whisper = await Whisper.load();
  const load = (performance.now() - start) / 1000;
  const samples = await decodeAudio(await (await fetch(`data:audio/flac;base64,${base64}`)).blob());
  const times = [];
  for (let i = 0; i < 5; i++) {
    const before = performance.now();
    await whisper.transcribe(samples);
    times.push((performance.now() - before) / 1000);
  }
  return { load, long: samples.length / 16000, times };
}, readFileSync(data("en_three.flac")).toString("base64"));
console.log(`loading, from a local server: ${seconds.load.toFixed(1)} s`);
console.log(`${seconds.long.toFixed(1)} s of digits: ${seconds.times.map((time) => time.toFixed(2)).join(", ")} s`);
await home.end();

const [, , json] = process.argv;
const versions = { Chromium: home.browser.version(), backend: "wasm128" };
if (json) save(json, versions, { ...JSON.parse(figures), recording: seconds });

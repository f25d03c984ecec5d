// Time how long it takes in Chromium to find the speakers of a conversation, without transcribing it.
//
//   node benchmarks/web_speakers.mjs --audio FOLDER [--minutes 10] [--speakers 4] [--seed 0] [--rounds 3]
//     [--threads '1 2'] [--json docs/performance/browser.json]
//
// FOLDER holds the recordings that tests/real uses, of which conversations.py joins a conversation. The interpreter
// BROWSER_PYTHON needs the package whisper-apr-speakers. It also finds the speakers, on one thread with the kernels
// that round as those of WebAssembly do. Each thread count has a page of its own; they take turns. A first round, in
// which the browser compiles and loads the weights, is left out. Besides the seconds that pass, the processor's seconds
// are measured, which other programs on the machine change less.
//
// The environment variables are those of tests/browser/harness.mjs.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { start } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const PREPARE = `
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from conversations import conversation, voices
from whisper_apr import simd
from whisper_apr.speakers import diarize
folder, minutes, speakers, seed, target = sys.argv[2:]
samples, _ = conversation(voices(Path(folder)), int(speakers), 60 * float(minutes), int(seed))
Path(target).write_bytes(samples.tobytes())
if "sse2" in simd.backends():
    simd.use_backend("sse2")
simd.set_num_threads(1)
diarize(samples[:160000])
begin, begin_cpu = time.perf_counter(), time.process_time()
diarize(samples)
print(time.perf_counter() - begin, time.process_time() - begin_cpu)
`;

const { values } = parseArgs({
  options: {
    audio: { type: "string" },
    minutes: { type: "string", default: "10" },
    speakers: { type: "string", default: "4" },
    seed: { type: "string", default: "0" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "1 2" },
    json: { type: "string" },
  },
});
const minutes = Number(values.minutes);
const folder = mkdtempSync(join(tmpdir(), "whisper-apr-"));
const file = join(folder, "conversation.f32");
const argv = [HERE, values.audio, values.minutes, values.speakers, values.seed, file];
const native = execFileSync(process.env.BROWSER_PYTHON, ["-c", PREPARE, ...argv], { encoding: "utf-8" });
const describe = ([seconds, cpu]) => `${seconds.toFixed(1)} s, of the processor ${cpu.toFixed(1)} s`;
console.log(`native, sse2, 1 thread: ${describe(native.split(" ").map(Number))}`);

const home = await start();
const pages = new Map();
for (const threads of values.threads.split(" ").map(Number)) {
  const page = await home.page("blank");
  page.setDefaultTimeout(0);
  await page.evaluate(async (threads) => {
    const { Whisper } = await import("/whisper.js");
    window.whisper = await Whisper.load({ threads });
    if (window.whisper.threads !== threads) throw new Error(`${window.whisper.threads} threads`);
    document.body.append(Object.assign(document.createElement("input"), { type: "file" }));
  }, threads);
  await page.setInputFiles("input", file);
  pages.set(threads, page);
}

const session = await home.browser.newBrowserCDPSession();

// Return the seconds for which the processor has worked for pages.
async function usedTime() {
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  return processInfo.filter(({ type }) => type === "renderer").reduce((sum, { cpuTime }) => sum + cpuTime, 0);
}

// Return the seconds from the first call of `onSpeakers` to the last, at which the transcription is cancelled, and
// those of the processor, which include the transcription until it is cancelled.
async function run(page) {
  const before = await usedTime();
  const seconds = await page.evaluate(async () => {
    const samples = new Float32Array(await document.querySelector("input").files[0].arrayBuffer());
    const controller = new AbortController();
    let [begin, end] = [0, 0];
    const onSpeakers = ({ done, total }) => {
      if (done === 0) begin = performance.now();
      if (done !== total) return;
      end = performance.now();
      controller.abort();
    };
    const { signal } = controller;
    await window.whisper.transcribe(samples, { speakers: true, onSpeakers, signal }).catch(() => {});
    return (end - begin) / 1000;
  });
  return [seconds, (await usedTime()) - before];
}

const about = { minutes, speakers: Number(values.speakers) };
const rows = [...pages.keys()].map((threads) => ({ ...about, threads, seconds: [], cpu: [] }));
for (let round = 0; round <= Number(values.rounds); round++) {
  for (const row of round % 2 ? rows : rows.toReversed()) {
    const measured = await run(pages.get(row.threads));
    if (round > 0) ["seconds", "cpu"].forEach((name, i) => row[name].push(measured[i]));
    console.log(`round ${round}, ${row.threads} threads: ${describe(measured)}`);
  }
}
console.log(`load ${loadavg().map((each) => each.toFixed(1)).join(" ")}`);
await home.end();
rmSync(folder, { recursive: true });
if (values.json) save(values.json, { Chromium: home.browser.version() }, { speakers: rows });

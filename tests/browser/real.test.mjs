// A published model with int8 weights on recordings of people, in the engine BROWSER_ENGINE: the text is the native
// package's, also after a transcription that was cancelled midway.
//
// BROWSER_MODEL is the model's folder or file, WHISPER_APR_REAL_AUDIO the folder with the recordings.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { openEngine } from "./engines.mjs";
import { FaultyProxy, SLOW, convert, nativeWith, serve, withoutPromiseIntegration } from "./harness.mjs";

const { BROWSER_ENGINE: ENGINE = "chromium", BROWSER_MODEL, WHISPER_APR_REAL_AUDIO: AUDIO } = process.env;
// 10 s, whose text is the same on every backend, and 52 s
const [SHORT, LONG] = ["LJ001-0001.flac", "az_aboutSpeechSdk.wav"].map((name) => join(AUDIO, name));
// Several formats, rates and channels. What is said is clear: where two people speak at once, rounding decides.
const RECORDINGS = [
  ...["jfk.flac", "LJ001-0002.flac", "LJ001-0003.flac", "LJ001-0004.flac", "fw_hotwords.mp3"],
  ...["sense_0870.wav", "sense_0880.wav", "sense_0920.wav", "lp_test.wav", "az_weather_mulaw.wav", "LDC93S1_8k.wav"],
  "az_katie.wav",
].map((name) => join(AUDIO, name));
let server, proxy, engine, page, model, truth;

before(async () => {
  model = convert("int8", BROWSER_MODEL);
  truth = nativeWith(model, {}, SHORT)[SHORT].text;
  server = await serve(["--model", model]);
  proxy = await new FaultyProxy(server.url).open();
  if (ENGINE === "no-jspi") withoutPromiseIntegration(proxy);
  engine = await openEngine[ENGINE]();
  page = await engine.page();
  await page.goto(`${proxy.url}blank`);
  await page.evaluate(async () => {
    const { Whisper } = await import("/whisper.js");
    const NativeWorker = Worker;
    window.workers = 0;
    window.Worker = class extends NativeWorker {
      constructor(...given) {
        super(...given);
        window.workers++;
      }
    };
    // Each call is started by one script and awaited by others, because drivers limit the time of a script.
    window.calls = {};
    const begin = (name, run) => {
      const began = performance.now();
      const call = (window.calls[name] = {});
      run().then(
        (value) => Object.assign(call, { value, time: performance.now() - began }),
        (error) => Object.assign(call, { error: `${error.name}: ${error.message}`, time: performance.now() - began }),
      );
    };
    window.load = (name) => begin(name, async () => void (window.whisper = await Whisper.load()));
    window.transcribe = (name, file) => {
      window.controller = new AbortController();
      const { signal } = window.controller;
      const onSegment = () => window.calls[name].segments++;
      begin(name, async () => (await window.whisper.transcribe(file, { signal, onSegment })).text);
      window.calls[name].segments = 0;
    };
  });
});
after(async () => {
  await engine?.close();
  proxy?.server.closeAllConnections();
  proxy?.server.close();
  server?.child.kill();
});

const call = (name) => page.evaluate((name) => window.calls[name], name);

async function until(name, holds) {
  for (const end = Date.now() + SLOW; ; ) {
    const state = await call(name);
    if (holds(state)) return state;
    assert.ok(Date.now() < end, `${name} goes on: ${JSON.stringify(state)}`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Wait for the end of a call, and return its value. */
async function finish(name) {
  const { value, error, time } = await until(name, ({ time }) => time);
  assert.equal(error, undefined, name);
  console.log(`${name}: ${(time / 1000).toFixed(1)} s`);
  return { value, time };
}

const transcribe = (name, path) =>
  page.evaluate(
    ({ name, base64, fileName }) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      window.transcribe(name, new File([bytes], fileName));
    },
    { name, base64: readFileSync(path).toString("base64"), fileName: basename(path) },
  );

test("a recording has the native package's text, also after one that is cancelled midway", async () => {
  const canPause = ENGINE !== "no-jspi" && (await page.evaluate(() => "Suspending" in WebAssembly));
  await page.evaluate(() => window.load("loading"));
  const loading = await finish("loading");
  await transcribe("the first recording", SHORT);
  const first = await finish("the first recording");
  assert.equal(first.value, truth);

  await transcribe("a long recording", LONG);
  await until("a long recording", ({ segments, time }) => segments > 0 || time);
  await page.evaluate(() => window.controller.abort());
  const { error } = await until("a long recording", ({ time }) => time);
  assert.match(error ?? "it was not cancelled", /^AbortError/);

  await transcribe("the next recording", SHORT);
  const next = await finish("the next recording");
  assert.equal(next.value, truth);
  assert.equal(await page.evaluate(() => window.workers), canPause ? 1 : 2);
  // three times as long, because other processes may slow it down
  assert.ok(next.time < 3 * (first.time + (canPause ? 0 : loading.time)), `${next.time} ms after ${first.time} ms`);
});

// the other engines run the same code, or take too long
const isSkipped = ENGINE === "no-jspi" || ENGINE === "webkit";

test("each of several recordings has the native package's text", { skip: isSkipped }, async () => {
  const native = nativeWith(model, {}, ...RECORDINGS);
  await page.evaluate(() => window.load("loading"));
  await finish("loading");
  const wrong = [];
  for (const path of RECORDINGS) {
    await transcribe(path, path);
    const { value } = await finish(path);
    if (value !== native[path].text) wrong.push([basename(path), value, native[path].text]);
  }
  assert.deepEqual(wrong, []);
});

// pipeline(): the options and the results of transformers.js.
import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { MODEL, PACKAGE, data, open, runtime, serve, startPython } from "./harness.mjs";

const TASK = "automatic-speech-recognition";
const python = startPython();
let cdn, browser, page, events, truth;

before(async () => {
  truth = await python("found = model.transcribe(values[0], word_timestamps=True).to_dict()", data("en_three.flac"));
  const models = { "/models/digits-int8.apr": MODEL, "/models/digits.apr": MODEL };
  const audio = { "/en_three.flac": data("en_three.flac") };
  cdn = await serve({ "/package/": PACKAGE, ...models, ...audio, ...runtime.folders }, { isShared: true });
  browser = await open();
  page = await browser.page(cdn.url);
  events = await page.evaluate(
    async ({ options }) => {
      Object.assign(window, await import("/package/pipeline.js"), { options });
      const events = [];
      const progress_callback = (event) => events.push(event);
      const given = { ...options, hub: "/models/", dtype: "q8", device: "wasm", progress_callback, fast: true };
      window.transcriber = await window.pipeline("automatic-speech-recognition", "someone/whisper-digits", given);
      const response = await fetch("/en_three.flac");
      const { decodeAudio } = await import("/package/whisper.js");
      window.samples = await decodeAudio(await response.arrayBuffer());
      return events;
    },
    { options: runtime.options(cdn.url) },
  );
});
after(async () => {
  python.close();
  await browser?.browser.close();
  cdn?.close();
});
afterEach(() => assert.deepEqual(browser.errors.splice(0), [], "errors in the console"));

const call = (options, how = "samples") =>
  page.evaluate(
    async ([options, how]) => {
      const audio = { samples: window.samples, url: "/en_three.flac", several: [window.samples, "/en_three.flac"] };
      try {
        return await window.transcriber(audio[how], options);
      } catch ({ name, message }) {
        return { name, message };
      }
    },
    [options, how],
  );

test("a repository's name and a dtype are the name of a file in the hub", () => {
  assert.ok(cdn.requests.includes("/models/digits-int8.apr"));
  assert.ok(!cdn.requests.includes("/models/digits.apr"));
});

test("it takes the options of Whisper.load", async () => {
  assert.equal(await page.evaluate(() => window.transcriber.whisper.fast), true);
});

test("progress_callback is told what transformers.js tells", () => {
  const kinds = events.map(({ status }) => status);
  assert.deepEqual([...new Set(kinds)], ["initiate", "download", "progress", "done", "ready"]);
  const about = { name: "someone/whisper-digits", file: "digits-int8" };
  assert.deepEqual(events[0], { status: "initiate", ...about });
  const progress = events.filter(({ status }) => status === "progress");
  assert.ok(progress.every(({ progress, loaded, total }) => Math.abs(progress - (100 * loaded) / total) < 1e-9));
  assert.equal(progress.at(-1).progress, 100);
  assert.deepEqual(events.at(-1), { status: "ready", task: "automatic-speech-recognition", model: about.name });
});

test("the text alone, of a URL, and of an array", async () => {
  const expected = { text: truth.text };
  assert.deepEqual(await call(undefined, "url"), expected);
  assert.deepEqual(await call({}, "several"), [expected, expected]);
});

test("doubles become floats, and URL objects are fetched", async () => {
  const found = await page.evaluate(async () => {
    const { whisper } = window.transcriber;
    const sources = [];
    whisper.transcribe = async (source) => (sources.push(source), { text: "", segments: [] });
    await window.transcriber([new Float64Array([0.5, 1]), new URL("/en_three.flac", location.href)]);
    delete whisper.transcribe;
    const [samples, bytes] = sources;
    return [samples instanceof Float32Array && [...samples], bytes.byteLength];
  });
  assert.deepEqual(found, [[0.5, 1], statSync(data("en_three.flac")).size]);
});

test("return_timestamps: segments or words, with [start, end]", async () => {
  const plain = await python("found = model.transcribe(values[0]).to_dict()", data("en_three.flac"));
  const segments = plain.segments.map(({ text, start, end }) => ({ text, timestamp: [start, end] }));
  assert.deepEqual(await call({ return_timestamps: true }), { text: plain.text, chunks: segments });
  const words = truth.segments.flatMap(({ words }) => words);
  const chunks = words.map(({ word, start, end }) => ({ text: word, timestamp: [start, end] }));
  assert.deepEqual(await call({ return_timestamps: "word" }), { text: truth.text, chunks });
  assert.deepEqual(await call({ return_timestamps: false }), { text: plain.text });
});

test("each option that a call accepts is given to Whisper.transcribe", async () => {
  const passed = (options) =>
    page.evaluate(async (options) => {
      const { whisper } = window.transcriber;
      let passed;
      whisper.transcribe = async (_, given) => ((passed = given), { text: "", segments: [] });
      await window.transcriber(window.samples, options);
      delete whisper.transcribe;
      return passed;
    }, options);
  const words = { wordTimestamps: false };
  for (const [options, keywords] of [
    [{}, {}],
    [{ language: "german", task: "translate" }, { language: "german", task: "translate" }],
    [{ language: null, task: null, max_new_tokens: null }, {}],
    [{ max_new_tokens: 3 }, { sample_len: 3 }],
    [{ num_beams: 4 }, { beam_size: 4 }],
    [{ num_beams: 1 }, {}],
    [{ repetition_penalty: 3 }, { repetition_penalty: 3 }],
    [{ no_repeat_ngram_size: 1 }, { no_repeat_ngram_size: 1 }],
    [{ chunk_length_s: 30, stride_length_s: 5 }, { batch_size: 1 }],
    [{ chunk_length_s: 20 }, { batch_size: 1 }],
    [{ chunk_length_s: 0, stride_length_s: 5, force_full_sequences: true }, {}],
    [{ do_sample: true, temperature: 0.5 }, { temperature: 0.5 }],
    [{ do_sample: true }, { temperature: 1 }],
    [{ do_sample: false, temperature: 0.5 }, {}],
  ]) {
    assert.deepEqual(await passed(options), { ...words, ...keywords }, JSON.stringify(options));
  }
  assert.deepEqual(await passed({ return_timestamps: "word" }), { wordTimestamps: true });
});

test("options change the text as Python's do", async () => {
  const plain = await call({});
  for (const [options, keywords] of [
    [{ max_new_tokens: 3 }, { sample_len: 3 }],
    [{ no_repeat_ngram_size: 1 }, { no_repeat_ngram_size: 1 }],
  ]) {
    const script = "found = model.transcribe(values[0], **values[1]).text";
    const expected = await python(script, data("en_three.flac"), keywords);
    assert.deepEqual(await call(options), { text: expected });
    assert.notEqual(expected, plain.text);
  }
});

test("wrong options are errors", async () => {
  for (const [options, words] of [
    [{ streamer: {} }, /no option streamer; there are .*language/],
    [{ return_timestamps: "segment" }, /return_timestamps must be true, false or "word", not segment/],
    [{ chunk_length_s: -1 }, /chunk_length_s must be a number of at least 0, not -1/],
    [{ chunk_length_s: 5, stride_length_s: 5 }, /stride_length_s must be less than chunk_length_s/],
    [{ language: "Klingon" }, /Klingon/],
  ]) {
    const error = await call(options);
    assert.equal(error.name, "OptionError");
    assert.match(error.message, words);
  }
  const missing = await page.evaluate(() => window.transcriber("/nothing.wav").catch(({ message }) => message));
  assert.match(missing, /nothing\.wav: the server responded with 404/);
  browser.errors.splice(0);
});

test("wrong arguments of pipeline are errors", async () => {
  for (const [given, words] of [
    [["text-generation", "tiny"], /task must be automatic-speech-recognition, not text-generation/],
    [[TASK], /needs the name or the URL of a model/],
    [[TASK, "Xenova/whisper-tiny"], /needs the option hub, the URL of a folder with tiny\.apr/],
    [[TASK, "tiny"], /needs the option hub/],
    [[TASK, "tiny", { hub: "/", dtype: "q3" }], /dtype must be one of fp32, .*not q3/],
    [[TASK, "tiny", { hub: "/", quantized: true }], /no option quantized; there are .*dtype/],
  ]) {
    const error = await page.evaluate((given) => window.pipeline(...given).catch(({ message }) => message), given);
    assert.match(error, words);
  }
});

test("each dtype names a file", async () => {
  const names = await page.evaluate(() =>
    ["fp32", "fp16", "q8", "int8", "uint8", "q4", "int4", "auto", undefined, null].map((dtype) =>
      window.modelName("Xenova/whisper-tiny.en", dtype),
    ),
  );
  const suffixes = ["-float32", "-float16", "-int8", "-int8", "-int8", "-int4", "-int4", "", "", ""];
  assert.deepEqual(names, suffixes.map((suffix) => `tiny.en${suffix}`));
});

test("a GPU as device is a warning; dispose frees the model", async () => {
  assert.equal(await page.evaluate(() => window.transcriber.task), "automatic-speech-recognition");
  await page.evaluate(() => window.transcriber.dispose());
  const text = await page.evaluate(async () => {
    const given = { ...window.options, device: "webgpu" };
    const transcriber = await window.pipeline("automatic-speech-recognition", "/models/digits.apr", given);
    return (await transcriber(window.samples)).text;
  });
  assert.equal(text, truth.text);
  assert.equal(page.workers().length, 1);
  assert.deepEqual(browser.errors.splice(0), ['whisper-apr: device "webgpu" is not supported; the CPU is used']);
});

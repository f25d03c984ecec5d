// The package as plain files, served from another origin than the page's.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { MODEL, PACKAGE, base64, data, exact, open, runtime, serve, startPython, until } from "./harness.mjs";

const python = startPython();
let cdn, site, browser, page, truth;

before(async () => {
  const names = ["de.wav", "en.wav"].map((name) => [name, data(name)]);
  truth = await python("found = {name: model.transcribe(path).text for name, path in values}", ...names);
  cdn = await serve({ "/package/": PACKAGE, "/models/digits.apr": MODEL, ...runtime.folders }, { isShared: true });
  site = await serve({ "/own.apr": MODEL, "/copy/": PACKAGE });
  browser = await open();
  page = await browser.page(site.url);
  await prepare(page);
});
after(async () => {
  python.close();
  await browser?.browser.close();
  cdn?.close();
  site?.close();
});
afterEach(() => assert.deepEqual(browser.errors.splice(0), [], "errors in the console"));

/** Load the model in the page, and give it functions for the tests. */
async function prepare(page, more = {}) {
  const options = { model: "digits", hub: `${cdn.url}models`, ...runtime.options(cdn.url), ...more };
  await page.evaluate(
    async ({ url, options }) => {
      const library = await import(`${url}whisper.js`);
      Object.assign(window, library, { options });
      window.blob = async (base64) => (await fetch(`data:audio/wav;base64,${base64}`)).blob();
      window.samples = async (base64) => library.decodeAudio(await window.blob(base64));
      window.whisper = await library.Whisper.load(options);
    },
    { url: `${cdn.url}package/`, options },
  );
}

/** Call a function in the page; an error is returned as {name, message}. */
const attempt = (run, value) =>
  page.evaluate(
    async ({ run, value }) => {
      try {
        return await eval(`(${run})`)(value);
      } catch ({ name, message }) {
        return { name, message };
      }
    },
    { run: String(run), value },
  );

test("a Content Security Policy need allow only the other origin, and blobs for the worker", async (context) => {
  const folder = mkdtempSync(join(tmpdir(), "whisper-apr-"));
  const { origin } = new URL(cdn.url);
  const policy = `default-src ${origin} 'wasm-unsafe-eval'; worker-src ${origin} blob:; img-src data:`;
  const meta = `<meta http-equiv="Content-Security-Policy" content="${policy}" />`;
  writeFileSync(join(folder, "index.html"), `<!doctype html>${meta}<link rel="icon" href="data:," />`);
  const strict = await serve({ "/": folder });
  context.after(() => strict.close());
  const other = await browser.page(strict.url);
  const options = { model: "digits", hub: `${cdn.url}models`, ...runtime.options(cdn.url) };
  const load = async ({ url, options }) => {
    const { Whisper } = await import(`${url}whisper.js`);
    return (await Whisper.load(options)).multilingual;
  };
  assert.equal(await other.evaluate(load, { url: `${cdn.url}package/`, options }), true);
  await other.context().close();
});

test("in a page that is cross-origin isolated, threads of another origin compute", async (context) => {
  const isolated = await serve({}, { isIsolated: true });
  context.after(() => isolated.close());
  const other = await browser.page(isolated.url);
  await prepare(other, { threads: 2 });
  const transcribe = async (bytes) => {
    const { text } = await window.whisper.transcribe(await window.blob(bytes));
    return [text, window.whisper.threads];
  };
  assert.deepEqual(await other.evaluate(transcribe, base64("en.wav")), [truth["en.wav"], 2]);
  await other.context().close();
});

test("the worker is a module of another origin, started by a blob", async () => {
  const [worker] = page.workers();
  assert.match(worker.url(), /^blob:/);
  assert.ok(cdn.requests.includes("/package/worker.js"));
  assert.ok(cdn.requests.some((path) => /^\/package\/whisper_apr-.*\.whl$/.test(path)));
  assert.ok(cdn.requests.includes("/models/digits.apr")); // the name digits in the hub
  assert.deepEqual([...new Set(site.requests)], ["/"]);
});

test("transcribe gives Python's text and words", async () => {
  const result = await page.evaluate(
    async (bytes) => window.whisper.transcribe(await window.blob(bytes), { wordTimestamps: true }),
    base64("en.wav"),
  );
  const expected = await python("found = model.transcribe(values[0], word_timestamps=True).to_dict()", data("en.wav"));
  assert.equal(result.text, expected.text);
  assert.deepEqual(exact(result.segments), exact(expected.segments));
});

test("segments arrive one by one, before the transcription is over", async () => {
  const { texts, early } = await page.evaluate(async (bytes) => {
    let isDone = false;
    let early = 0;
    const texts = [];
    const onProgress = ({ done, total }) => (isDone = done === total);
    const options = { temperature: 0, onProgress };
    for await (const { text } of window.whisper.segments(await window.samples(bytes), options)) {
      texts.push(text);
      if (!isDone) early++;
    }
    return { texts, early };
  }, base64("en_long.flac"));
  const script = "found = [s.text for s in model.transcribe(values[0], temperature=0).segments]";
  assert.deepEqual(texts, await python(script, data("en_long.flac")));
  assert.ok(early > 0, "all segments came at the end");
});

test("leaving the loop over segments cancels the transcription, and keeps the worker", async () => {
  const before = page.workers().length;
  const { n, waited } = await page.evaluate(async (bytes) => {
    const samples = await window.samples(bytes);
    let n = 0;
    for await (const _ of window.whisper.segments(samples)) {
      n++;
      break;
    }
    const began = performance.now();
    await window.whisper.transcribe(new Float32Array(1600));
    return { n, waited: performance.now() - began };
  }, base64("en_long.flac"));
  assert.equal(n, 1);
  assert.ok(waited < 20_000);
  assert.equal(page.workers().length, before);
});

test("an aborted signal ends transcribe, segments and live with its reason", async () => {
  for (const how of ["transcribe", "segments", "live"]) {
    const found = await attempt(
      async ([bytes, how]) => {
        const { whisper } = window;
        const samples = await window.samples(bytes);
        const controller = new AbortController();
        const { signal } = controller;
        const abort = () => controller.abort(new Error("enough"));
        if (how === "transcribe") return whisper.transcribe(samples, { signal, onSegment: abort });
        const source = how === "live" ? [samples.slice(0, 48000), samples] : samples;
        for await (const _ of whisper[how](source, { signal })) abort();
        return null;
      },
      [base64("en_long.flac"), how],
    );
    assert.deepEqual(found, { name: "Error", message: "enough" }, how);
  }
});

test("vad leaves out silence, with its options", async () => {
  const run = (vad) =>
    page.evaluate(
      async ([bytes, vad]) => {
        const options = { vad, temperature: 0, wordTimestamps: true };
        return (await window.whisper.transcribe(await window.samples(bytes), options)).segments;
      },
      [base64("en_late.flac"), vad],
    );
  const native = (parameters) =>
    python(
      `
options = dict(temperature=0, word_timestamps=True, vad_filter=True, vad_parameters=values[1])
found = model.transcribe(read(values[0]), **options).to_dict()["segments"]`,
      data("en_late.flac"),
      parameters,
    );
  const strict = { threshold: 1 };
  const [without, standard, none] = [await run(false), await run(true), await run(strict)].map(exact);
  assert.deepEqual(standard, exact(await native(null)));
  assert.deepEqual(none, exact(await native(strict)));
  assert.notDeepEqual(without, standard);
  assert.notDeepEqual(standard, none);
});

/** Push blocks of a recording to `live` in the page, and to Python's LiveTranscriber; return both lists of texts. */
async function liveTexts(name, options, pythonOptions) {
  const found = await page.evaluate(
    async ([bytes, options]) => {
      const samples = await window.samples(bytes);
      const blocks = [];
      for (let i = 0; i < samples.length; i += 8000) blocks.push(samples.slice(i, i + 8000));
      const texts = [];
      for await (const text of window.whisper.live(blocks, { temperature: 0, ...options })) texts.push(text);
      return texts;
    },
    [base64(name), options],
  );
  const expected = await python(
    `
name, options = values
live, found, shown = LiveTranscriber(model, temperature=0, **options), [], ""
def take(text):
    global shown
    if text.settled or text.tentative_text != shown:
        shown = text.tentative_text
        words = [[word.to_dict() for word in words] for words in (text.settled, text.tentative)]
        found.append(dict(settled=words[0], tentative=words[1], settledText=text.settled_text, tentativeText=shown))
for block in np.split(samples := read(name), range(8000, len(samples), 8000)):
    take(live.push(block))
take(live.finish())`,
    data(name),
    pythonOptions,
  );
  return { found: exact(found), expected: exact(expected) };
}

test("live gives the words of Python's LiveTranscriber, and has its options", async () => {
  const standard = await liveTexts("en.wav", {}, {});
  assert.deepEqual(standard.found, standard.expected);
  assert.ok(standard.found.some(({ tentative }) => tentative.length));
  assert.ok(standard.found.filter(({ settled }) => settled.length).length > 1);
  assert.deepEqual(standard.found.at(-1).tentative, []);
  for (const [options, pythonOptions] of [
    [{ step: 3 }, { step: 3 }],
    [{ vad: { min_silence_duration_ms: 50 } }, { vad_options: { min_silence_duration_ms: 50 } }],
    [{ sampling_rate: 12000 }, { sampling_rate: 12000 }],
    [{ sample_len: 2 }, { sample_len: 2 }],
  ]) {
    const { found, expected } = await liveTexts("en.wav", options, pythonOptions);
    assert.deepEqual(found, expected, JSON.stringify(options));
    assert.notDeepEqual(found, standard.found, `${JSON.stringify(options)} has no effect`);
  }
  for (const [options, words] of [
    [{ language: "Klingon" }, /Klingon/],
    [{ task: "sing" }, /task must be .*sing/],
    [{ initialPrompt: 5 }, /initial_prompt must be .*5/],
    [{ nonsense: 1 }, /nonsense/],
  ]) {
    const error = await attempt(async (options) => {
      for await (const _ of window.whisper.live([], options));
    }, options);
    assert.equal(error.name, "OptionError");
    assert.match(error.message, words);
  }
});

test("live follows a microphone, until stop", async () => {
  const { text, tentative, rate } = await page.evaluate(async () => {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const captions = window.whisper.live(stream);
    setTimeout(() => captions.stop(), 8000);
    let text = "";
    let tentative = 0;
    for await (const { settledText, tentativeText } of captions) {
      text += settledText;
      if (tentativeText) tentative++;
    }
    for (const track of stream.getTracks()) track.stop();
    return { text, tentative, rate: new AudioContext().sampleRate };
  });
  assert.notEqual(rate, 16000);
  assert.equal(text.trim(), truth["en.wav"].trim());
  assert.ok(tentative > 0);
});

test("live ends when all tracks of the stream end", async () => {
  const n = await page.evaluate(async () => {
    const context = new AudioContext();
    const tone = context.createOscillator();
    const { stream } = tone.connect(context.createMediaStreamDestination());
    tone.start();
    const [track] = stream.getAudioTracks();
    setTimeout(() => {
      track.stop();
      track.dispatchEvent(new Event("ended")); // as when the device is removed
    }, 500);
    let n = 0;
    for await (const _ of window.whisper.live(stream)) n++;
    return n;
  });
  assert.equal(n, 0);
});

test("leaving the loop over live texts ends the source, and frees the worker for the next call", async () => {
  const { isClosed, text } = await page.evaluate(
    async ([english, german]) => {
      const samples = await window.samples(english);
      let isClosed = false;
      const blocks = (async function* () {
        try {
          for (;;) {
            yield samples.slice(0, 48000);
            await new Promise((done) => setTimeout(done, 50));
          }
        } finally {
          isClosed = true;
        }
      })();
      for await (const _ of window.whisper.live(blocks)) break;
      const { text } = await window.whisper.transcribe(await window.samples(german));
      return { isClosed, text };
    },
    [base64("en.wav"), base64("de.wav")],
  );
  assert.equal(isClosed, true);
  assert.equal(text, truth["de.wav"]);
});

test("close ends a live transcription with an AbortError", async () => {
  const error = await attempt(async (bytes) => {
    const samples = await window.samples(bytes);
    const blocks = (async function* () {
      for (;;) {
        yield samples.slice(0, 32000);
        await new Promise((done) => setTimeout(done, 50));
      }
    })();
    for await (const _ of window.whisper.live(blocks)) window.whisper.close();
  }, base64("en.wav"));
  assert.equal(error.name, "AbortError");
  await until(() => page.workers().length === 0);
});

test("a model of the page's own origin; the worker from another place", async () => {
  const before = cdn.requests.length;
  const found = await attempt(
    async ({ options, bytes }) => {
      window.whisper = await window.Whisper.load({ ...options, model: "own.apr", worker: "/copy/worker.js" });
      return (await window.whisper.transcribe(await window.blob(bytes))).text;
    },
    { options: runtime.options(cdn.url), bytes: base64("de.wav") },
  );
  assert.equal(found, truth["de.wav"]);
  assert.ok(!cdn.requests.slice(before).includes("/package/worker.js"));
  assert.deepEqual(page.workers().map((worker) => worker.url()), [`${site.url}copy/worker.js`]);
  await page.evaluate(() => window.whisper.close());
});

test("wrong models and wheels are errors that say what to do", async () => {
  for (const [options, name, words] of [
    [{}, "OptionError", /needs the option model: the URL of an \.apr file, or with the option hub a model's name/],
    [{ model: "digits", hub: `${cdn.url}nowhere/` }, "Error", /nowhere\/digits\.apr: the server responded with 404/],
    [{ model: "/own.apr", wheel: "/none.whl" }, "Error", /none\.whl: the server responded with 404/],
  ]) {
    const error = await attempt(
      async (options) => void (await window.Whisper.load(options)),
      { ...runtime.options(cdn.url), ...options },
    );
    assert.equal(error.name, name);
    assert.match(error.message, words);
  }
  const texts = browser.errors.splice(0);
  assert.ok(texts.every((text) => /404/.test(text)), texts.join());
});

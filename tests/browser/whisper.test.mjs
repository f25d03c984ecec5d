// The class Whisper in another page, and downloads of the model that are interrupted or damaged.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { SLOW, convert, data, native, nativeWith, start } from "./harness.mjs";

const PART = 4 << 20; // bytes of one stored part, as in download.js
const truth = native("de.wav", "en.wav");
let setup;

before(async () => {
  setup = await start();
});
after(() => setup.end());
afterEach(() => {
  setup.proxy.fault = null;
  setup.proxy.requests.length = 0;
  assert.deepEqual(setup.errors.splice(0).filter((text) => !isNetworkError(text)), [], "errors in the console");
});
// messages of Chromium about the connections that a test has cut
const isNetworkError = (text) =>
  /^Failed to load resource: (net::ERR_|the server responded with a status of 503)/.test(text);

/** Open an empty page with `load(options)`, which returns null, or the error as {name, message}. */
async function openBlank() {
  return prepare(await setup.page("blank"));
}

/** Reload the page; its storage is kept. */
async function reload(page) {
  await page.reload();
  return prepare(page);
}

async function prepare(page) {
  await page.evaluate(async () => {
    const { Whisper } = await import("/whisper.js");
    window.load = async (options) => {
      window.loaded = 0;
      const onDownload = ({ loaded }) => (window.loaded = loaded);
      try {
        window.whisper = await Whisper.load({ onDownload, ...options });
        return null;
      } catch ({ name, message }) {
        return { name, message };
      }
    };
    window.recording = async (base64) => (await fetch(`data:audio/wav;base64,${base64}`)).blob();
    window.transcribe = async (base64, options) => {
      try {
        return await window.whisper.transcribe(await window.recording(base64), options);
      } catch ({ name, message }) {
        return { name, message };
      }
    };
  });
  return page;
}

const load = (page) => page.evaluate(() => window.load());
const base64 = (name) => readFileSync(data(name)).toString("base64");
const transcribe = (page, name, options) =>
  page.evaluate(([bytes, given]) => window.transcribe(bytes, given), [base64(name), options]);
const ranges = () => setup.proxy.requests.filter(([method]) => method === "GET").map(([, range]) => range);

/** Send the first `length` bytes of a response, and cut the connection once the page has received them. */
async function cut(page, response, { status, headers, body }, length) {
  const begin = Number(/^bytes (\d+)-/.exec(headers["content-range"] ?? "")?.[1] ?? 0);
  response.writeHead(status, headers);
  response.write(body.subarray(0, length));
  await until(async () => (await page.evaluate(() => window.loaded)) >= begin + length);
  response.destroy();
}

async function until(holds) {
  for (const end = Date.now() + SLOW; !(await holds()); ) {
    assert.ok(Date.now() < end, `timeout: ${holds}`);
    await new Promise((done) => setTimeout(done, 50));
  }
}

test("the class transcribes, and reports errors, in another page", async () => {
  const page = await openBlank();
  assert.equal(await load(page), null);
  const answer = await page.evaluate(async (bytes) => {
    const { whisper, recording } = window;
    const segments = [];
    const file = await recording(bytes);
    const onSegment = (segment) => segments.push(segment.text);
    const result = await whisper.transcribe(file, { language: "de", onSegment, wordTimestamps: true });
    const { decodeAudio } = await import("/whisper.js");
    const samples = await decodeAudio(file);
    const given = samples.slice();
    await whisper.transcribe(given, { transfer: true });
    const again = await Promise.all([whisper.transcribe(samples), whisper.transcribe(samples), whisper.write("txt")]);
    const { multilingual } = whisper;
    const lengths = [samples.length, given.length];
    return { result, segments, again: again.map((r) => r.text ?? r), lengths, multilingual };
  }, base64("de.wav"));
  assert.equal(answer.result.text, truth["de.wav"].text);
  assert.equal(answer.segments.join(""), truth["de.wav"].text);
  assert.equal(answer.result.segments[0].words.map(({ word }) => word).join(""), answer.result.segments[0].text);
  assert.deepEqual(answer.again, [truth["de.wav"].text, truth["de.wav"].text, truth["de.wav"].txt]);
  assert.ok(answer.lengths[0] > 16000 && answer.multilingual);
  assert.equal(answer.lengths[1], 0); // transferred

  for (const [options, name, words] of [
    [{ language: "Klingon" }, "OptionError", /Klingon/],
    [{ nonsense: 1 }, "OptionError", /nonsense/],
  ]) {
    const error = await transcribe(page, "de.wav", options);
    assert.equal(error.name, name);
    assert.match(error.message, words);
  }
  const empty = await page.evaluate(() =>
    window.whisper.transcribe(new Float32Array(0)).catch((error) => error.name),
  );
  assert.equal(empty, "AudioError");
  assert.equal((await transcribe(page, "en.wav")).text, truth["en.wav"].text);
  await page.context().close();
});

test("close() frees the memory, and the next transcription loads the model from the cache", async () => {
  const page = await openBlank();
  assert.equal(await load(page), null);
  assert.equal(page.workers().length, await page.evaluate(() => window.whisper.threads));
  const before = await resident();
  setup.proxy.requests.length = 0;
  await page.evaluate(() => window.whisper.close());
  await until(() => page.workers().length === 0);
  await until(async () => (await resident()) < before - 50e6);
  assert.equal((await transcribe(page, "en.wav")).text, truth["en.wav"].text);
  assert.deepEqual(ranges(), []);
  await page.context().close();
});

/** Return the resident memory of the browser's pages in bytes. */
async function resident() {
  const session = await setup.browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const sizes = processInfo.filter(({ type }) => type === "renderer").map(({ id }) => {
    const found = readFileSync(`/proc/${id}/status`, "utf-8").matchAll(/^Rss(?:Anon|Shmem):\s+(\d+)/gm);
    return [...found].reduce((sum, [, kilobytes]) => sum + 1024 * Number(kilobytes), 0);
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

test("loading can be cancelled", async () => {
  const page = await openBlank();
  setup.proxy.fault = ({ method }, response, { status, headers, body }) => {
    response.writeHead(status, headers);
    response.write(body.subarray(0, 1 << 20)); // the rest is never sent
    return true;
  };
  const error = await page.evaluate(() => {
    const controller = new AbortController();
    return window.load({ signal: controller.signal, onDownload: () => controller.abort() });
  });
  assert.equal(error.name, "AbortError");
  await until(() => page.workers().length === 0);
  setup.proxy.fault = null;
  assert.equal(await load(page), null);
  assert.equal((await transcribe(page, "en.wav")).text, truth["en.wav"].text);
  await page.context().close();
});

test("a transcription can be cancelled by its signal", async () => {
  const page = await openBlank();
  assert.equal(await load(page), null);
  const { name, waited } = await page.evaluate(async (bytes) => {
    const { decodeAudio } = await import("/whisper.js");
    const once = await decodeAudio(await window.recording(bytes));
    const samples = new Float32Array(60 * once.length);
    for (let i = 0; i < 60; i++) samples.set(once, i * once.length);
    const controller = new AbortController();
    const run = window.whisper.transcribe(samples, { signal: controller.signal, onSegment: () => controller.abort() });
    controller.signal.addEventListener("abort", () => (window.aborted = performance.now()));
    return run.then(
      () => ({ name: "nothing" }),
      (error) => ({ name: error.name, waited: performance.now() - window.aborted }),
    );
  }, base64("de.wav"));
  assert.equal(name, "AbortError");
  assert.ok(waited < 20_000, `${waited} ms`);
  assert.equal((await transcribe(page, "en.wav")).text, truth["en.wav"].text);
  await page.context().close();
});

test("an int8 model gives the text of Python", async () => {
  const path = convert("int8");
  const [file, expected] = [readFileSync(path), nativeWith(path, {}, "de.wav", "en.wav")];
  assert.ok(file.subarray(0, 1 << 16).includes("int8"));
  setup.proxy.fault = ({ method }, response) => {
    response.writeHead(200, { "content-length": file.length, etag: '"int8"' });
    response.end(method === "HEAD" ? undefined : file);
    return true;
  };
  const page = await openBlank();
  assert.equal(await load(page), null);
  for (const name of ["de.wav", "en.wav"]) assert.equal((await transcribe(page, name)).text, expected[name].text);
  await page.context().close();
});

test("an interrupted download resumes, and the downloaded part is kept", async () => {
  const page = await openBlank();
  const lengths = [1_000_000, 3_500_000];
  setup.proxy.fault = ({ method }, response, answer) => {
    if (method !== "GET" || !lengths.length) return false;
    cut(page, response, answer, lengths.shift());
    return true;
  };
  assert.equal(await load(page), null);
  assert.deepEqual(ranges(), [null, "bytes=1000000-", "bytes=4500000-"]);
  assert.equal((await transcribe(page, "de.wav")).text, truth["de.wav"].text);

  setup.proxy.requests.length = 0;
  const again = await reload(page);
  assert.equal(await load(again), null);
  assert.deepEqual(setup.proxy.requests, [["HEAD", null]]);
  assert.equal((await transcribe(again, "en.wav")).text, truth["en.wav"].text);
  await page.context().close();
});

test("after a failed download the stored parts are used", async () => {
  const page = await openBlank();
  setup.proxy.fault = ({ range }, response, answer) => {
    if (range) response.writeHead(503).end();
    else cut(page, response, answer, PART + 300_000);
    return true;
  };
  const error = await load(page);
  assert.equal(error.name, "Error");
  assert.match(error.message, /model\.apr: it could not be downloaded/);
  setup.proxy.fault = null;
  setup.proxy.requests.length = 0;
  const again = await reload(page);
  assert.equal(await load(again), null);
  assert.deepEqual(setup.proxy.requests, [["HEAD", null], ["GET", `bytes=${PART}-`]]);
  await page.context().close();
});

test("a file that has changed on the server is downloaded again", async () => {
  const page = await openBlank();
  let answers = 0;
  setup.proxy.fault = ({ method }, response, answer) => {
    answer.headers.etag = answers ? '"new"' : '"old"';
    if (answers++) response.writeHead(answer.status, answer.headers).end(method === "HEAD" ? undefined : answer.body);
    else cut(page, response, answer, 2_000_000);
    return true;
  };
  assert.equal(await load(page), null);
  assert.deepEqual(ranges(), [null, "bytes=2000000-", null]);
  assert.equal((await transcribe(page, "de.wav")).text, truth["de.wav"].text);
  setup.proxy.fault = null; // it changes again: the ETag is now that of the real server
  setup.proxy.requests.length = 0;
  const again = await reload(page);
  assert.equal(await load(again), null);
  assert.deepEqual(setup.proxy.requests, [["HEAD", null], ["GET", null]]);
  await page.context().close();
});

test("a damaged model is a FormatError, and is not kept", async () => {
  const page = await openBlank();
  setup.proxy.fault = ({ method }, response, { status, headers, body }) => {
    if (method !== "GET") return false;
    body[3_000_000] ^= 64;
    response.writeHead(status, headers);
    response.end(body);
    return true;
  };
  const error = await load(page);
  assert.equal(error.name, "FormatError");
  assert.match(error.message, /model\.apr.*block/);
  assert.ok(!error.message.includes("\n"));
  assert.equal(ranges().length, 2); // one retry, which is damaged too
  setup.proxy.fault = null;
  assert.equal(await load(await reload(page)), null);
  await page.context().close();
});

test("a missing model, and a file that is not a model, are errors", async () => {
  const page = await openBlank();
  const missing = await page.evaluate(() => window.load({ model: "nothing.apr" }));
  assert.match(missing.message, /nothing\.apr: the server responded with 404/);
  const text = await page.evaluate(() => window.load({ model: "style.css" }));
  assert.equal(text.name, "FormatError");
  assert.equal(setup.errors.splice(0).filter((line) => !line.includes("404")).length, 0);
  await page.context().close();
});

test("a model that needs more memory than a page has is refused before it is downloaded", async () => {
  const page = await openBlank();
  setup.proxy.fault = (_, response, { headers }) => {
    response.writeHead(200, { ...headers, "content-length": "6000000000" });
    response.write("APR1");
    return true;
  };
  const { message } = await load(page);
  assert.match(message, /6000 MB needs about 6900 MB.*3800 MB/);
  await page.context().close();
});

// The class Whisper tells speakers apart: the results, the download of the weights, and what it refuses.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { nativeWith, start, twoVoices } from "./harness.mjs";

const WEIGHTS = "/speakers.zip";
const file = twoVoices();
const OPTIONS = { audio_context: "auto" };
const truth = (speakers) => JSON.parse(nativeWith("digits", { ...OPTIONS, speakers }, file)[file].json);
const base64 = readFileSync(file).toString("base64");
let setup;

before(async () => {
  setup = await start();
});
after(() => setup.end());
afterEach(() => {
  setup.proxy.faults = {};
  setup.proxy.counts = {};
  assert.deepEqual(setup.errors.splice(0), [], "errors in the console");
});

/** Open a page with a loaded model and `transcribe(options)`, which also returns what the callbacks were given. */
async function open(load = {}) {
  const page = await setup.page("blank");
  await page.evaluate(
    async ([base64, load]) => {
      const { Whisper } = await import("/whisper.js");
      window.whisper = await Whisper.load(load);
      const blob = await (await fetch(`data:audio/wav;base64,${base64}`)).blob();
      const samples = await window.whisper.decode(blob);
      window.transcribe = async ({ abortAt, times = 1, ...options }) => {
        const [downloads, found, segments] = [[], [], []];
        const controller = new AbortController();
        const long = new Float32Array(times * samples.length);
        for (let i = 0; i < times; i++) long.set(samples, i * samples.length);
        try {
          const result = await window.whisper.transcribe(long, {
            wordTimestamps: true,
            audio_context: "auto",
            signal: controller.signal,
            onDownload: (progress) => downloads.push(progress),
            onSegment: (segment) => segments.push(segment),
            onSpeakers(progress) {
              found.push(progress);
              if (progress.done >= abortAt) controller.abort();
            },
            ...options,
          });
          return { result, segments, downloads, found };
        } catch ({ name, message }) {
          return { name, message, found };
        }
      };
    },
    [base64, load],
  );
  return page;
}

const transcribe = (page, options) => page.evaluate((given) => window.transcribe(given), options);
// probabilities, which WebAssembly computes in another order, are rounded
const rounded = (value) =>
  JSON.parse(JSON.stringify(value), (_, each) => (typeof each === "number" ? Number(each.toFixed(2)) : each));

test("segments and words have the speakers that Python finds; the weights are loaded when needed", async () => {
  const page = await open();
  const { proxy } = setup;
  const plain = await transcribe(page, { speakers: false });
  assert.equal(plain.result.segments[0].speaker, undefined);
  assert.deepEqual([plain.found, plain.downloads, proxy.counts[WEIGHTS]], [[], [], undefined]);

  const { result, segments, downloads, found } = await transcribe(page, { speakers: true });
  const expected = truth(true);
  assert.deepEqual(expected.segments.map(({ speaker }) => Number(speaker.slice(-2))), [0, 1, 1, 0]);
  assert.deepEqual(rounded(result.segments), rounded(expected.segments));
  assert.deepEqual(segments, result.segments);
  assert.equal(result.segments[1].words[0].speaker, "SPEAKER_01");
  const size = await page.evaluate(async (url) => (await (await fetch(url)).blob()).size, WEIGHTS);
  assert.deepEqual(downloads.at(-1), { loaded: size, total: size });
  assert.equal(found[0].done, 0);
  assert.ok(found.length > 3 && found.every(({ done }, i) => i === 0 || done >= found[i - 1].done));
  assert.equal(found.at(-1).done, found.at(-1).total);

  setup.proxy.counts = {};
  const one = await transcribe(page, { speakers: 1 });
  assert.deepEqual(rounded(one.result.segments), rounded(truth(1).segments));
  assert.deepEqual([one.downloads, proxy.counts[WEIGHTS]], [[], undefined]);

  await page.evaluate(() => window.whisper.close());
  const again = await transcribe(page, { speakers: true }); // from the cache: only asked whether it has changed
  assert.deepEqual(again.result, result);
  assert.equal(proxy.log.filter((line) => line.endsWith(WEIGHTS)).at(-1), `HEAD ${WEIGHTS}`);
  assert.equal(proxy.counts[WEIGHTS], 1);
  await page.context().close();
});

test("turns that are known need no weights", async () => {
  const page = await open();
  const { result } = await transcribe(page, { speakers: [[0, 4, "Ann"], [4, 60, "Bob"]] });
  assert.deepEqual([...new Set(result.segments.map(({ speaker }) => speaker))], ["Ann", "Bob"]);
  assert.equal(setup.proxy.counts[WEIGHTS], undefined);
  await page.context().close();
});

test("values that are not allowed, and a page without the weights", async () => {
  const page = await open();
  for (const [speakers, message] of [
    ["two", /^speakers must be true, a number of speakers, or turns, not two$/],
    [2.5, /^speakers must be true, a number/],
    [0, /^speakers must be .*not 0/],
    [51, /^speakers must be .*not 51/],
  ]) {
    const error = await transcribe(page, { speakers });
    assert.equal(error.name, "OptionError");
    assert.match(error.message, message);
  }
  await page.context().close();

  const { wheel, numpy, pyodide } = await (await fetch(`${setup.proxy.url}settings.json`)).json();
  const other = await open({ model: "model.apr", wheel, numpy, pyodide });
  assert.equal(await other.evaluate(() => window.whisper.canFindSpeakers), false);
  const error = await transcribe(other, { speakers: true });
  assert.equal(error.name, "OptionError");
  assert.match(error.message, /^to tell speakers apart, load\(\) needs the option speakers: [^.]+$/);
  await other.context().close();
});

test("weights that are damaged are loaded again, and then are an error; so are a missing and a huge file", async () => {
  const page = await open();
  let damages = 1;
  const damaged = ({ method }, response, { status, headers, body }) => {
    if (method !== "GET" || damages-- <= 0) return false;
    const bytes = Buffer.from(body);
    bytes[bytes.length >> 1] ^= 1;
    response.writeHead(status, headers).end(bytes);
    return true;
  };
  setup.proxy.faults[WEIGHTS] = damaged;
  const expected = rounded(truth(true).segments);
  assert.deepEqual(rounded((await transcribe(page, { speakers: true })).result.segments), expected);
  assert.equal(setup.proxy.counts[WEIGHTS], 2);
  await page.context().close();

  const other = await open();
  damages = 2;
  const error = await transcribe(other, { speakers: true });
  assert.equal(error.name, "FormatError");
  assert.match(error.message, /speakers\.zip: it is damaged, or not a wheel of whisper-apr-speakers \(.*CRC.*\)/);
  setup.proxy.faults[WEIGHTS] = (_, response) => response.writeHead(404).end();
  assert.match((await transcribe(other, { speakers: true })).message, /speakers\.zip: the server responded with 404/);
  setup.proxy.faults[WEIGHTS] = (_, response) => {
    response.writeHead(200, { "content-length": 1e9, etag: '"huge"' });
    return Boolean(response.write("PK"));
  };
  const huge = await transcribe(other, { speakers: true });
  assert.match(huge.message, /speakers\.zip: it has more than 64 MB; name a wheel of whisper-apr-speakers$/);
  setup.proxy.faults = {};
  assert.deepEqual(rounded((await transcribe(other, { speakers: true })).result.segments), expected);
  setup.errors.splice(0, setup.errors.length, ...setup.errors.filter((text) => !text.includes("404")));
  await other.context().close();
});

test("finding speakers is cancelled, and the next transcription is right", async () => {
  const page = await open();
  const error = await transcribe(page, { speakers: true, times: 12, abortAt: 5 });
  assert.equal(error.name, "AbortError");
  assert.ok(error.found.at(-1).done < 0.9 * error.found.at(-1).total, JSON.stringify(error.found.at(-1)));
  setup.proxy.counts = {};
  const { result } = await transcribe(page, { speakers: true });
  assert.deepEqual(rounded(result.segments), rounded(truth(true).segments));
  assert.deepEqual(setup.proxy.counts, {}); // neither the worker nor the weights were loaded again
  await page.context().close();
});

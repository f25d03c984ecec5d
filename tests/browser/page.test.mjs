// The page: recordings from files and the microphone, and their texts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { SPOKEN, data, nativeAsPage, shownText, start, waitForStatus, wav } from "./harness.mjs";

const RECORDINGS = ["de.wav", "en.wav", "es.wav", "fr.wav"];
const MOST_DOWNLOADS = 8; // of a page: before the 11th, Chromium may ask whether it may save several files
const truth = nativeAsPage(...RECORDINGS, "en_three.flac");
let setup, page;

before(async () => {
  setup = await start();
  page = await setup.page();
  await waitForStatus(page, /^Ready|could not/);
});
after(() => setup.end());
afterEach(() => assert.deepEqual(setup.errors.splice(0), [], "errors in the console"));

const choose = (file) => page.setInputFiles("#file", file);
// JSON whose probabilities, which WebAssembly computes in another order, are rounded
const round = (_, value) => (typeof value === "number" ? Number(value.toFixed(2)) : value);
const rounded = (json) => JSON.parse(json, round);
const isShown = (id) => page.locator(`#${id}`).isVisible();

test("the model is loaded; with one model there is no chooser", async () => {
  assert.match(await page.textContent("#status"), /^Ready/);
  assert.equal(await isShown("error"), false);
  assert.equal(await isShown("choose-model"), false);
  assert.ok((await page.locator("#language option").count()) > 90);
});

for (const name of RECORDINGS) {
  test(`${name}: the text is that of Python`, async () => {
    await choose(data(name));
    await waitForStatus(page, /^Done/);
    assert.equal(await shownText(page), truth[name].text.trim());
    assert.equal(await page.textContent("#name"), name);
    const language = { de: "German", en: "English", es: "Spanish", fr: "French" }[truth[name].language];
    assert.ok((await page.textContent("#status")).includes(language));
    assert.equal(await isShown("error"), false);
  });
}

test("a chosen language and task are used", async () => {
  await page.click("#options summary");
  await page.selectOption("#language", "fr");
  await page.selectOption("#task", "translate");
  await choose(data("fr.wav"));
  await waitForStatus(page, /^Done.*translated.*French/);
  await page.click("#options summary");
  await page.selectOption("#language", "");
  await page.selectOption("#task", "transcribe");
});

test("downloads in every format are the files that Python writes", async () => {
  const { text, language: _, ...files } = truth["en_three.flac"];
  const formats = await page.locator("[data-format]").evaluateAll((all) => all.map(({ dataset }) => dataset.format));
  assert.deepEqual(formats.toSorted(), Object.keys(files).toSorted());
  for (const [i, format] of formats.entries()) {
    if (i % MOST_DOWNLOADS === 0) {
      await page.reload();
      await waitForStatus(page, /^Ready/);
      await choose(data("en_three.flac"));
      await waitForStatus(page, /^Done/);
      assert.equal(await shownText(page), text.trim());
    }
    const button = page.locator(`[data-format=${format}]`);
    if (!(await button.isVisible())) await page.click("#more summary");
    const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
    assert.equal(download.suggestedFilename(), `en_three.${format}`);
    const [found, expected] = [readFileSync(await download.path(), "utf-8"), files[format]];
    if (format === "json") assert.deepEqual(rounded(found), rounded(expected));
    else assert.equal(found, expected);
  }
});

test("a dropped file is transcribed", async () => {
  const transfer = await page.evaluateHandle(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "dropped.wav", { type: "audio/wav" }));
    return transfer;
  }, readFileSync(data("fr.wav")).toString("base64"));
  const isOver = () => page.evaluate(() => document.getElementById("drop").classList.contains("over"));
  await page.dispatchEvent("#drop", "dragover", { dataTransfer: transfer });
  assert.ok(await isOver());
  await page.dispatchEvent("#drop", "drop", { dataTransfer: transfer });
  assert.equal(await isOver(), false);
  await waitForStatus(page, /^Done.*French/);
  assert.equal(await page.textContent("#name"), "dropped.wav");
  assert.equal(await shownText(page), truth["fr.wav"].text.trim());
});

test("the microphone is recorded and transcribed", async () => {
  const seconds = (readFileSync(data(SPOKEN)).length - 44) / 32000;
  await page.click("#record");
  await waitForStatus(page, /^Listening/);
  assert.equal(await isShown("drop"), false);
  const began = Date.now();
  await page.waitForFunction(() => document.getElementById("captions").textContent.trim()); // before the end
  await page.waitForTimeout(Math.max(0, began + 1000 * (seconds + 1) - Date.now()));
  assert.match(await page.textContent("#live-time"), /^0:0\d$/);
  await page.click("#stop");
  await waitForStatus(page, /^Done/);
  const captions = (await page.textContent("#settled")).trim().split(/\s+/);
  const spoken = truth[SPOKEN].text.trim().split(" ");
  assert.ok(captions[0] && captions.every((word) => spoken.includes(word)), captions.join(" "));
  assert.equal(await shownText(page), truth[SPOKEN].text.trim());
  assert.match(await page.textContent("#name"), /^recording \d{4}-\d\d-\d\d \d\d\.\d\d$/);
  assert.equal(await isShown("error"), false);
});

test("a microphone that is not allowed is an error", async () => {
  await page.evaluate(() => {
    const error = new DOMException("Permission denied", "NotAllowedError");
    navigator.mediaDevices.getUserMedia = () => Promise.reject(error);
  });
  await page.click("#record");
  await page.waitForSelector("#error:not([hidden])");
  assert.equal(await page.textContent("#error-text"), "the microphone cannot be used: Permission denied");
  assert.equal(await page.locator("#record").isEnabled(), true);
});

test("segments appear before the result", async () => {
  await page.evaluate(() => {
    window.early = 0;
    const count = () => {
      if (document.getElementById("status").textContent.startsWith("Done")) return;
      window.early = Math.max(window.early, document.querySelectorAll("#segments li").length);
    };
    new MutationObserver(count).observe(document.getElementById("segments"), { childList: true });
  });
  await choose(data("en_three.flac"));
  await waitForStatus(page, /^Done/);
  assert.ok((await page.evaluate(() => window.early)) >= 1);
});

test("the waveform is computed once for a recording, however many segments there are", async () => {
  const bytes = readFileSync(data("en_three.flac")).toString("base64");
  const length = await page.evaluate(async (base64) => {
    const { decodeAudio } = await import("/whisper.js");
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const { length } = await decodeAudio(bytes.buffer);
    const { abs } = Math;
    window.looks = 0; // samples that the page has looked at
    Math.abs = (value) => (window.looks++, abs(value));
    return length;
  }, bytes);
  await choose(data("en_three.flac"));
  await waitForStatus(page, /^Done/);
  assert.ok((await page.locator("#segments li").count()) > 1);
  const looks = await page.evaluate(() => window.looks);
  assert.ok(looks >= length && looks < 1.1 * length, `${looks} of ${length}`);
});

test("a text file named .wav is an error", async () => {
  await choose({ name: "notes.wav", mimeType: "audio/wav", buffer: Buffer.from("these are only words\n".repeat(50)) });
  await waitForStatus(page, /^Ready/);
  const expected = "notes.wav: this browser cannot decode it; use WAV, AIFF, MP3, M4A, OGG or FLAC";
  assert.equal(await page.textContent("#error-text"), expected);
  assert.equal(await isShown("result"), false);
  assert.equal(await isShown("drop"), true);
});

test("a recording without samples is an error", async () => {
  await choose({ name: "nothing.wav", mimeType: "audio/wav", buffer: wav([]) });
  await waitForStatus(page, /^Ready/);
  assert.match(await page.textContent("#error-text"), /^nothing\.wav: [^.]+$/);
});

test("a recording that the browser cannot play is converted; damage in it is told", async () => {
  const speech = readFileSync(data("de.wav")).subarray(44).swap16();
  const head = Buffer.from("FORM\0\0\0\0AIFFCOMM\0\0\0\x12\0\x01\0\0\0\0\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0", "latin1");
  const sound = Buffer.from("SSND\0\0\0\0\0\0\0\0\0\0\0\0", "latin1");
  head.writeUInt32BE(46 + speech.length, 4);
  head.writeUInt32BE(speech.length / 2, 22);
  sound.writeUInt32BE(8 + speech.length + 2000, 4); // more than is there
  await choose({ name: "mac.aiff", mimeType: "audio/aiff", buffer: Buffer.concat([head, sound, speech]) });
  await waitForStatus(page, /^Done/);
  assert.equal(await shownText(page), truth["de.wav"].text.trim());
  assert.match(await page.textContent("#note"), /^mac\.aiff: cut off: /);
  const duration = await page.evaluate(() => document.getElementById("audio").duration);
  assert.ok(Math.abs(duration - speech.length / 32000) < 0.01, String(duration));
});

test("a silent recording has no text", async () => {
  await choose({ name: "silence.wav", mimeType: "audio/wav", buffer: wav(new Int16Array(32000)) });
  await waitForStatus(page, /^Done/);
  assert.equal(await shownText(page), "");
  assert.equal(await isShown("empty"), true);
  assert.equal(await isShown("tools"), false);
  assert.equal(await isShown("error"), false);
});

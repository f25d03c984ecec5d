// The page, as a user operates it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { SPOKEN, data, native, start, waitForStatus, wav } from "./harness.mjs";

const RECORDINGS = ["de.wav", "en.wav", "es.wav", "fr.wav"];
const truth = native(...RECORDINGS, "en_three.flac");
let setup, page;

before(async () => {
  setup = await start();
  page = await setup.page();
  await waitForStatus(page, /^Ready|could not/);
});
after(() => setup.end());
afterEach(() => assert.deepEqual(setup.errors.splice(0), [], "errors in the console"));

const choose = (file) => page.setInputFiles("#file", file);
const shown = async () => (await page.locator("#segments li span").allTextContents()).join(" ");
const isShown = (id) => page.locator(`#${id}`).isVisible();

test("the model is loaded", async () => {
  assert.match(await page.textContent("#status"), /^Ready/);
  assert.equal(await isShown("error"), false);
  assert.ok((await page.locator("#language option").count()) > 90);
});

for (const name of RECORDINGS) {
  test(`${name}: the text is that of Python`, async () => {
    await choose(data(name));
    await waitForStatus(page, /^Done/);
    assert.equal(await shown(), truth[name].text.trim());
    const language = { de: "German", en: "English", es: "Spanish", fr: "French" }[truth[name].language];
    assert.ok((await page.textContent("#status")).includes(language));
    assert.equal(await isShown("error"), false);
  });
}

test("downloads are the files that Python writes", async () => {
  await choose(data("en_three.flac"));
  await waitForStatus(page, /^Done/);
  assert.equal(await shown(), truth["en_three.flac"].text.trim());
  for (const format of ["txt", "srt", "vtt"]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-format=${format}]`)]);
    assert.equal(download.suggestedFilename(), `en_three.${format}`);
    assert.equal(readFileSync(await download.path(), "utf-8"), truth["en_three.flac"][format]);
  }
});

test("a dropped file is transcribed", async () => {
  const transfer = await page.evaluateHandle(async (base64) => {
    const bytes = await (await fetch(`data:audio/wav;base64,${base64}`)).arrayBuffer();
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
  assert.match(await page.textContent("#name"), /^dropped\.wav, /);
  assert.equal(await shown(), truth["fr.wav"].text.trim());
});

test("the microphone is recorded and transcribed", async () => {
  const seconds = (readFileSync(data(SPOKEN)).length - 44) / 32000;
  await page.click("#record");
  await waitForStatus(page, /^Recording/);
  assert.equal(await page.textContent("#record"), "Stop");
  await page.waitForTimeout(1000 * (seconds + 1));
  await page.click("#record");
  await waitForStatus(page, /^Done/);
  assert.equal(await page.textContent("#record"), "Record");
  assert.equal(await shown(), truth[SPOKEN].text.trim());
  assert.match(await page.textContent("#name"), /^recording, /);
  assert.equal(await isShown("error"), false);
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

test("a text file named .wav is an error", async () => {
  await choose({ name: "notes.wav", mimeType: "audio/wav", buffer: Buffer.from("these are only words\n".repeat(50)) });
  await waitForStatus(page, /^Ready/);
  const expected = "notes.wav: this browser cannot decode it; use WAV, MP3, M4A, OGG or FLAC";
  assert.equal(await page.textContent("#error"), expected);
  assert.equal(await isShown("result"), false);
});

test("a recording without samples is an error", async () => {
  await choose({ name: "nothing.wav", mimeType: "audio/wav", buffer: wav([]) });
  await waitForStatus(page, /^Ready/);
  assert.match(await page.textContent("#error"), /^nothing\.wav: [^.]+$/);
});

test("a silent recording has no text", async () => {
  await choose({ name: "silence.wav", mimeType: "audio/wav", buffer: wav(new Int16Array(32000)) });
  await waitForStatus(page, /^Done/);
  assert.equal(await shown(), "");
  assert.equal(await isShown("empty"), true);
  assert.equal(await isShown("downloads"), false);
  assert.equal(await isShown("error"), false);
});

test("after a cancelled transcription the next one is right", async () => {
  const second = Array.from({ length: 6 }, () => readFileSync(data("de.wav")).subarray(44));
  const bytes = Buffer.concat(Array.from({ length: 5 }, () => second).flat());
  const long = wav(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
  await choose({ name: "long.wav", mimeType: "audio/wav", buffer: long });
  await page.click("#cancel");
  const began = Date.now();
  await waitForStatus(page, /^Cancelled/);
  assert.ok(Date.now() - began < 20_000);
  assert.equal(await isShown("error"), false);
  await choose(data("es.wav"));
  await waitForStatus(page, /^Done/);
  assert.equal(await shown(), truth["es.wav"].text.trim());
});

test("the page can be used with the keyboard alone", async () => {
  // The handler is set before the reload: if it is set just before the key, Chromium often opens its own dialog.
  page.once("filechooser", (chooser) => chooser.setFiles(data("en.wav")));
  await page.reload();
  await waitForStatus(page, /^Ready/);
  const focused = () => page.evaluate(() => document.activeElement.id);
  const order = [];
  for (let i = 0; i < 4; i++) {
    await page.keyboard.press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(order, ["file", "record", "language", "task"]);
  await page.focus("#file");
  await page.keyboard.press("Enter");
  await waitForStatus(page, /^Done/);
  await page.locator("#segments button").first().focus();
  await page.evaluate(() => (document.getElementById("audio").muted = true));
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("#segments li.now"));
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.focus("[data-format=txt]").then(() => page.keyboard.press("Space")),
  ]);
  assert.equal(readFileSync(await download.path(), "utf-8"), truth["en.wav"].txt);
});

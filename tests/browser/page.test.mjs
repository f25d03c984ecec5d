// The page, as a person uses it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { SPOKEN, data, native, says, start, wav } from "./harness.mjs";

const RECORDINGS = ["de.wav", "en.wav", "es.wav", "fr.wav"];
const truth = native(...RECORDINGS, "en_three.flac");
let home, page;

before(async () => {
  home = await start();
  page = await home.page();
  await says(page, /^Ready|could not/);
});
after(() => home.end());
afterEach(() => assert.deepEqual(home.errors.splice(0), [], "errors in the console"));

const choose = (file) => page.setInputFiles("#file", file);
const shown = async () => (await page.locator("#segments li span").allTextContents()).join(" ");
const isShown = (id) => page.locator(`#${id}`).isVisible();

test("the model is loaded", async () => {
  assert.match(await page.textContent("#status"), /^Ready/);
  assert.equal(await isShown("error"), false);
  assert.ok((await page.locator("#language option").count()) > 90);
});

for (const name of RECORDINGS) {
  test(`${name}: the text is Python's`, async () => {
    await choose(data(name));
    await says(page, /^Done/);
    assert.equal(await shown(), truth[name].text.trim());
    const language = { de: "German", en: "English", es: "Spanish", fr: "French" }[truth[name].language];
    assert.ok((await page.textContent("#status")).includes(language));
    assert.equal(await isShown("error"), false);
  });
}

test("downloads are Python's files", async () => {
  await choose(data("en_three.flac"));
  await says(page, /^Done/);
  assert.equal(await shown(), truth["en_three.flac"].text.trim());
  for (const format of ["txt", "srt", "vtt"]) {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[data-format=${format}]`)]);
    assert.equal(download.suggestedFilename(), `en_three.${format}`);
    assert.equal(readFileSync(await download.path(), "utf-8"), truth["en_three.flac"][format]);
  }
});

test("a file that is dropped", async () => {
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
  await says(page, /^Done.*French/);
  assert.match(await page.textContent("#name"), /^dropped\.wav, /);
  assert.equal(await shown(), truth["fr.wav"].text.trim());
});

test("what is said into the microphone", async () => {
  const seconds = (readFileSync(data(SPOKEN)).length - 44) / 32000;
  await page.click("#record");
  await says(page, /^Recording/);
  assert.equal(await page.textContent("#record"), "Stop");
  await page.waitForTimeout(1000 * (seconds + 1));
  await page.click("#record");
  await says(page, /^Done/);
  assert.equal(await page.textContent("#record"), "Record");
  assert.equal(await shown(), truth[SPOKEN].text.trim());
  assert.match(await page.textContent("#name"), /^recording, /);
  assert.equal(await isShown("error"), false);
});

test("segments are there before the result", async () => {
  await page.evaluate(() => {
    window.early = 0;
    const note = () => {
      if (!document.getElementById("status").textContent.startsWith("Done")) window.early = Math.max(window.early, document.querySelectorAll("#segments li").length);
    };
    new MutationObserver(note).observe(document.getElementById("segments"), { childList: true });
  });
  await choose(data("en_three.flac"));
  await says(page, /^Done/);
  assert.ok((await page.evaluate(() => window.early)) >= 1);
});

test("a text that is named .wav", async () => {
  await choose({ name: "notes.wav", mimeType: "audio/wav", buffer: Buffer.from("these are only words\n".repeat(50)) });
  await says(page, /^Ready/);
  assert.equal(await page.textContent("#error"), "notes.wav: this browser cannot decode it; use WAV, MP3, M4A, OGG or FLAC");
  assert.equal(await isShown("result"), false);
});

test("a recording without a sample", async () => {
  await choose({ name: "nothing.wav", mimeType: "audio/wav", buffer: wav([]) });
  await says(page, /^Ready/);
  assert.match(await page.textContent("#error"), /^nothing\.wav: [^.]+$/);
});

test("a silent recording", async () => {
  await choose({ name: "silence.wav", mimeType: "audio/wav", buffer: wav(new Int16Array(32000)) });
  await says(page, /^Done/);
  assert.equal(await shown(), "");
  assert.equal(await isShown("empty"), true);
  assert.equal(await isShown("downloads"), false);
  assert.equal(await isShown("error"), false);
});

test("a transcription is cancelled, and the next one is right", async () => {
  const second = Array.from({ length: 6 }, () => readFileSync(data("de.wav")).subarray(44));
  const bytes = Buffer.concat(Array.from({ length: 5 }, () => second).flat());
  const long = wav(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
  await choose({ name: "long.wav", mimeType: "audio/wav", buffer: long });
  await page.click("#cancel");
  const began = Date.now();
  await says(page, /^Cancelled/);
  assert.ok(Date.now() - began < 20_000);
  assert.equal(await isShown("error"), false);
  await choose(data("es.wav"));
  await says(page, /^Done/);
  assert.equal(await shown(), truth["es.wav"].text.trim());
});

test("with the keyboard alone", async () => {
  // Before the reload: a browser that is told at the time of the key that the chooser is taken over opens its own often enough.
  page.once("filechooser", (chooser) => chooser.setFiles(data("en.wav")));
  await page.reload();
  await says(page, /^Ready/);
  const focused = () => page.evaluate(() => document.activeElement.id);
  const order = [];
  for (let i = 0; i < 4; i++) {
    await page.keyboard.press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(order, ["file", "record", "language", "task"]);
  await page.focus("#file");
  await page.keyboard.press("Enter");
  await says(page, /^Done/);
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

// The page tells speakers apart: the choice, the progress, names that are changed everywhere, and cancelling.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import {
  SPOKEN,
  data,
  nativeWith,
  shownText,
  start,
  twoVoices,
  waitForStatus,
  wav,
  withoutPromiseIntegration,
} from "./harness.mjs";

const WEIGHTS = "/speakers.zip";
const file = twoVoices();
const truth = nativeWith("digits", { audio_context: "auto", speakers: true }, file)[file];
const LINES = truth.txt.trim().split("\n").map((line) => line.replace(/^.*?: /, ""));
let setup, page;

before(async () => {
  setup = await start();
  page = await open();
});
after(() => setup.end());
afterEach(() => {
  setup.proxy.faults = {};
  assert.deepEqual(setup.errors.splice(0), [], "errors in the console");
});

async function open() {
  const opened = await setup.page("", { permissions: ["clipboard-read", "clipboard-write"] });
  await waitForStatus(opened, /^Ready|could not/);
  await opened.evaluate(() => (document.getElementById("audio").muted = true));
  return opened;
}

async function transcribe(path = file) {
  await page.setInputFiles("#file", path);
  await waitForStatus(page, /^Done/);
}

async function download(format) {
  const button = page.locator(`[data-format=${format}]`);
  if (!(await button.isVisible())) await page.click("#more summary");
  const [saved] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return readFileSync(await saved.path(), "utf-8");
}

const press = (key) => page.keyboard.press(key);
const list = () => page.locator("#speaker-list .speaker-name").allTextContents();
const inText = () => page.locator("#segments .speaker:visible").allTextContents();
const colors = () => page.locator("#segments li").evaluateAll((all) => all.map(({ dataset }) => dataset.color));
// the text of a file with names; Markdown has a backslash before the underscore
const named = (text, ...names) =>
  names.reduce((all, name, i) => all.replaceAll(new RegExp(`SPEAKER\\\\?_0${i}`, "g"), name), text);
const activeText = () => page.evaluate(() => document.activeElement.textContent);
// JSON whose probabilities, which WebAssembly computes in another order, are rounded
const rounded = (json) =>
  JSON.parse(json, (_, value) => (typeof value === "number" ? Number(value.toFixed(2)) : value));

test("the choice is off, and then nothing is loaded", async () => {
  assert.equal(await page.locator("#speakers").isVisible(), true);
  assert.equal(await page.inputValue("#speakers"), "");
  await transcribe();
  assert.deepEqual([await list(), await inText()], [[], []]);
  assert.equal(await page.locator("#speaker-list").isVisible(), false);
  assert.equal(setup.proxy.counts[WEIGHTS], undefined);
});

test("names are shown where the speaker changes, each with a color of its own; files have them", async () => {
  await page.evaluate(() => {
    window.texts = new Set();
    const look = () => window.texts.add(document.getElementById("status").textContent);
    new MutationObserver(look).observe(document.getElementById("status"), { childList: true });
  });
  await page.click("#options summary");
  await page.selectOption("#speakers", "auto");
  await transcribe();
  const texts = await page.evaluate(() => [...window.texts]);
  for (const text of ["Loading the networks for speakers …", "Finding speakers …", "Transcribing …"]) {
    assert.ok(texts.includes(text), `${text} is not among ${texts}`);
  }
  assert.match(texts.at(-1), /^Done: 0:16 of audio transcribed\. Spoken language: English\. Speakers: 2\.$/);
  assert.deepEqual(await list(), ["Speaker 1", "Speaker 2"]);
  assert.deepEqual(await inText(), ["Speaker 1", "Speaker 2", "Speaker 1"]);
  assert.deepEqual(await colors(), ["1", "2", "2", "1"]);
  assert.equal(await shownText(page), LINES.join(" "));
  const shades = await page.locator("#segments .text").evaluateAll((all) => {
    return all.map((text) => getComputedStyle(text).borderLeftColor);
  });
  assert.equal(new Set(shades).size, 2);
  for (const format of ["txt", "srt", "vtt", "tsv", "csv", "md", "lrc", "ass", "textgrid"]) {
    assert.equal(await download(format), named(truth[format], "Speaker 1", "Speaker 2"), format);
  }
  assert.equal(await download("rttm"), named(truth.rttm, "Speaker_1", "Speaker_2"));
  assert.deepEqual(rounded(await download("json")), rounded(named(truth.json, "Speaker 1", "Speaker 2")));
});

test("a name is changed at a segment, everywhere", async () => {
  const button = page.locator("#segments .speaker:visible").nth(1);
  await button.click();
  assert.equal(await page.inputValue(".speaker-field"), "Speaker 2");
  assert.equal(await page.getAttribute(".speaker-field", "aria-label"), "Name of Speaker 2");
  await page.keyboard.type("Ann  & Bo");
  await press("ArrowLeft"); // moves in the field
  await press("Enter");
  assert.equal(await page.locator(".speaker-field").count(), 0);
  assert.equal(await activeText(), "Ann & Bo");
  assert.deepEqual(await list(), ["Speaker 1", "Ann & Bo"]);
  assert.deepEqual(await inText(), ["Speaker 1", "Ann & Bo", "Speaker 1"]);
  assert.equal(await page.textContent("#announcer"), "Speaker 2 is now Ann & Bo");
  assert.equal(await download("srt"), named(truth.srt, "Speaker 1", "Ann & Bo"));
  assert.match(await download("vtt"), /<v Ann &amp; Bo>/);
  const { segments } = JSON.parse(await download("json"));
  assert.deepEqual(segments.map(({ speaker }) => speaker), ["Speaker 1", "Ann & Bo", "Ann & Bo", "Speaker 1"]);
  assert.ok(segments.every(({ speaker, words }) => words.every((word) => word.speaker === speaker)));
  await page.click("#copy");
  await page.waitForFunction(() => document.getElementById("copy-label").textContent === "Copied");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, LINES.map((line, i) => `${segments[i].speaker}: ${line}`).join("\n"));
});

test("Escape and an empty name change nothing; another click ends the change", async () => {
  const first = page.locator("#speaker-list .speaker").first();
  for (const [text, key] of [["Bob", "Escape"], ["   ", "Enter"]]) {
    await first.click();
    await page.keyboard.type(text);
    await press(key);
    assert.deepEqual(await list(), ["Speaker 1", "Ann & Bo"]);
  }
  await first.click();
  await page.keyboard.type("Bob");
  await page.click("#name");
  assert.deepEqual(await list(), ["Bob", "Ann & Bo"]);
  assert.deepEqual(await inText(), ["Bob", "Ann & Bo", "Bob"]);
});

test("names are changed with the keyboard; two speakers of one name are one", async () => {
  await page.focus("#more summary");
  await press("Tab");
  assert.equal(await activeText(), "Bob"); // in the list
  await press("Tab");
  await press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "time");
  await press("ArrowDown");
  await press("ArrowRight");
  assert.equal(await activeText(), "Ann & Bo");
  await press("ArrowRight");
  assert.equal(await activeText(), LINES[1].split(" ")[0]);
  await press("ArrowLeft");
  await press("Enter");
  await page.keyboard.type("Bob");
  await press("Enter");
  assert.deepEqual(await inText(), ["Bob"]);
  assert.deepEqual(await colors(), ["1", "1", "1", "1"]);
  assert.equal(await download("txt"), named(truth.txt, "Bob", "Bob"));
});

test("corrections keep the speakers; a name is changed meanwhile", async () => {
  await page.click("#edit");
  await page.locator("#segments .text").nth(1).fill("quite other words");
  await page.locator("#speaker-list .speaker").nth(1).click();
  await page.keyboard.type("Cleo");
  await press("Enter");
  assert.deepEqual(await inText(), ["Bob", "Cleo", "Bob"]);
  await page.locator("#segments .speaker:visible").nth(1).press("Enter");
  await page.keyboard.type("Dora");
  await press("Enter");
  await page.locator("#segments .text").first().fill("");
  await page.click("#edit");
  assert.deepEqual(await inText(), ["Dora", "Bob"]);
  const { segments } = JSON.parse(await download("json"));
  assert.deepEqual(segments.map(({ speaker }) => speaker), ["Dora", "Dora", "Bob"]);
  const words = segments[0].words.map(({ word, speaker }) => [word, speaker]);
  assert.deepEqual(words, [[" quite", "Dora"], [" other", "Dora"], [" words", "Dora"]]);
});

test("the number of speakers is used; the next recording begins with new names", async () => {
  await page.click("#options summary");
  await page.selectOption("#speakers", "2");
  await transcribe();
  assert.deepEqual(await list(), ["Speaker 1", "Speaker 2"]);
  assert.equal(await download("vtt"), named(truth.vtt, "Speaker 1", "Speaker 2"));
});

/** The recording many times, as a file for `setInputFiles`. */
function long() {
  const sound = readFileSync(file).subarray(44);
  const bytes = Buffer.concat(Array.from({ length: 12 }, () => sound));
  const samples = new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  return { name: "long.wav", mimeType: "audio/wav", buffer: wav(samples) };
}

async function cancelWhileFinding() {
  await page.setInputFiles("#file", long());
  await waitForStatus(page, /^Finding speakers/);
  await page.waitForFunction(() => /^0:[1-9]\d of 3:/.test(document.getElementById("detail").textContent.trim()));
  assert.ok((await page.evaluate(() => document.getElementById("progress").value)) > 0);
  await page.click("#cancel");
  await waitForStatus(page, /^Cancelled\.$/);
  assert.equal(await page.locator("#error").isVisible(), false);
  await transcribe();
  assert.deepEqual(await inText(), ["Speaker 1", "Speaker 2", "Speaker 1"]);
  assert.equal(await shownText(page), LINES.join(" "));
}

test("finding speakers is cancelled", cancelWhileFinding);

test("the speakers of a recording from the microphone are found, too", async () => {
  const seconds = (readFileSync(data(SPOKEN)).length - 44) / 32000;
  await page.click("#record");
  await waitForStatus(page, /^Listening/);
  await page.waitForTimeout(1000 * (seconds + 1));
  await page.click("#stop");
  await waitForStatus(page, /^Done.*Speakers: 1/);
  assert.deepEqual(await list(), ["Speaker 1"]);
});

test("without the weights the choice is hidden", async () => {
  setup.proxy.faults["/settings.json"] = (_, response, { body }) => {
    const { speakers, ...settings } = JSON.parse(body);
    assert.equal(speakers, "speakers.zip");
    return Boolean(response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(settings)));
  };
  const other = await open();
  assert.equal(await other.locator("#language").isVisible(), true);
  assert.equal(await other.locator("#speakers").isVisible(), false);
  await other.context().close();
});

test("finding speakers is cancelled without JavaScript Promise Integration", async () => {
  await page.context().close();
  withoutPromiseIntegration(setup.proxy);
  page = await open();
  await page.selectOption("#speakers", "auto");
  await cancelWhileFinding();
});

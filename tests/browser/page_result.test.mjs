// The result in the page: the player, corrections, what is kept after a cancel, and the path with the keyboard alone.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { data, nativeAsPage, shownText, start, waitForStatus, wav } from "./harness.mjs";

const truth = nativeAsPage("en.wav", "es.wav", "en_three.flac");
let setup, page;

before(async () => {
  setup = await start();
  page = await setup.page("", { permissions: ["clipboard-read", "clipboard-write"] });
  await waitForStatus(page, /^Ready|could not/);
  await page.evaluate(() => (document.getElementById("audio").muted = true));
});
after(() => setup.end());
afterEach(() => assert.deepEqual(setup.errors.splice(0), [], "errors in the console"));

const now = () => page.evaluate(() => document.getElementById("audio").currentTime);
const isPaused = () => page.evaluate(() => document.getElementById("audio").paused);
const press = (key) => page.keyboard.press(key);
const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.className);

async function transcribe(name) {
  await page.setInputFiles("#file", data(name));
  await waitForStatus(page, /^Done/);
}

async function download(format) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.click(`[data-format=${format}]`)]);
  return readFileSync(await file.path(), "utf-8");
}

test("a word that is clicked is played, and followed", async () => {
  await transcribe("en_three.flac");
  const word = page.locator(".word").nth(3);
  const begin = Number(await word.getAttribute("data-start"));
  await word.click();
  await page.waitForFunction(() => document.querySelector(".word.now"));
  const time = await now();
  assert.ok(time >= begin - 0.05 && time < begin + 2, `${time} s, not ${begin} s`);
  assert.ok(await page.locator("li.now").count());
  assert.equal(await page.getAttribute("#play", "aria-label"), "Pause");
  await page.click("#play");
  assert.equal(await isPaused(), true);
  await page.waitForFunction(() => !document.querySelector(".word.now"));
});

test("a click on the waveform moves the playhead; the keys of a slider do so too", async () => {
  const total = Number(await page.getAttribute("#slider", "aria-valuemax"));
  const box = await page.locator("#slider").boundingBox();
  await page.mouse.click(box.x + box.width / 2, box.y + 5);
  assert.ok(Math.abs((await now()) - total / 2) < total / 50);
  const played = await page.evaluate(() => {
    // the share of the canvas' columns in the color of what was played
    const canvas = document.getElementById("wave");
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = "var(--wave-played)";
    const color = getComputedStyle(probe).color.match(/\d+/g).slice(0, 3).join();
    probe.remove();
    return new Promise((done) =>
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          const { width, height } = canvas;
          const row = canvas.getContext("2d").getImageData(0, height >> 1, width, 1).data;
          const columns = Array.from({ length: width }, (_, x) => row.slice(4 * x, 4 * x + 3).join() === color);
          done(columns.lastIndexOf(true) / width);
        }),
      ),
    );
  });
  assert.ok(Math.abs(played - 0.5) < 0.03, `played up to ${played}`);
  await page.focus("#slider");
  await press("Home");
  assert.equal(await now(), 0);
  await press("ArrowRight");
  assert.equal(await now(), Math.min(5, total));
  assert.match(await page.getAttribute("#slider", "aria-valuetext"), /^0:0\d of 0:\d\d$/);
  await press("End");
  assert.ok(Math.abs((await now()) - total) < 0.1);
  await press("Home");
  await press(" ");
  assert.equal(await isPaused(), false);
  await press(" ");
  assert.equal(await isPaused(), true);
});

test("the text is copied", async () => {
  await page.click("#copy");
  await page.waitForFunction(() => document.getElementById("copy-label").textContent === "Copied");
  assert.equal(await page.textContent("#announcer"), "Copied");
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, truth["en_three.flac"].txt.trim());
});

test("corrections are in copies and downloads, and the other words keep their times", async () => {
  const before = JSON.parse(await download("json"));
  const first = page.locator("#segments .text").first();
  const words = await first.locator(".word").allTextContents();
  const times = await first.locator(".word").evaluateAll((all) => all.map(({ dataset }) => dataset.start));
  await first.locator(".word").nth(1).dblclick();
  assert.equal(await page.textContent("#edit-label"), "Finish");
  assert.equal(await first.getAttribute("role"), "textbox");
  await page.keyboard.type("<b>new</b> & words");
  await press("Enter"); // a segment is one line
  await page.click("#edit");
  const corrected = [words[0], "<b>new</b>", "&", "words", ...words.slice(2)];
  assert.deepEqual(await first.locator(".word").allTextContents(), corrected);
  const later = await first.locator(".word").evaluateAll((all) => all.map(({ dataset }) => dataset.start));
  assert.deepEqual([later[0], ...later.slice(4)], [times[0], ...times.slice(2)]);
  assert.ok(later.every((time, i) => i === 0 || Number(time) >= Number(later[i - 1])), String(later));

  const txt = await download("txt");
  assert.equal(txt.split("\n")[0], corrected.join(" "));
  assert.deepEqual(txt.split("\n").slice(1), truth["en_three.flac"].txt.split("\n").slice(1));
  assert.match(await download("vtt"), /&lt;b&gt;new&lt;\/b&gt; &amp; words/);
  const json = JSON.parse(await download("json"));
  assert.equal(json.segments[0].text.trim(), corrected.join(" "));
  assert.equal(json.segments[0].words.length, corrected.length);
  assert.deepEqual(json.segments.slice(1), before.segments.slice(1));
  assert.equal(json.language, before.language);
  await page.click("#copy");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), txt.trim());
});

test("a segment whose text is deleted is left out", async () => {
  const count = await page.locator("#segments li").count();
  await page.click("#edit");
  await page.locator("#segments .text").first().fill("");
  await page.click("#edit");
  assert.equal(await page.locator("#segments li:visible").count(), count - 1);
  assert.equal(JSON.parse(await download("json")).segments.length, count - 1);
});

test("after a cancel the text so far is kept and can be downloaded; the next recording is right", async () => {
  const speech = readFileSync(data("en_three.flac"));
  // the same recording many times, decoded by the browser
  const samples = await page.evaluate(async (base64) => {
    const { decodeAudio } = await import("/whisper.js");
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return Array.from(await decodeAudio(bytes.buffer), (x) => Math.round(32767 * x));
  }, speech.toString("base64"));
  const long = wav(Int16Array.from(Array.from({ length: 40 }, () => samples).flat()));
  await page.setInputFiles("#file", { name: "long.wav", mimeType: "audio/wav", buffer: long });
  await page.waitForFunction(() => document.querySelectorAll("#segments li").length > 2);
  assert.equal(await page.locator("#drop").isVisible(), false);
  const began = Date.now();
  await page.click("#cancel");
  await waitForStatus(page, /^Cancelled at \d+:\d\d of \d+:\d\d/);
  assert.ok(Date.now() - began < 20_000);
  assert.equal(await page.locator("#error").isVisible(), false);
  const shown = await shownText(page);
  assert.ok(shown.length > 10);
  assert.equal((await download("txt")).replaceAll("\n", " ").trim(), shown);
  assert.match(await download("srt"), /^1\n00:00:0\d,\d{3} --> /);

  await transcribe("es.wav");
  assert.equal(await shownText(page), truth["es.wav"].text.trim());
});

test("the whole path works with the keyboard alone", async () => {
  // The handler is set before the reload: if it is set just before the key, Chromium often opens its own dialog.
  page.once("filechooser", (chooser) => chooser.setFiles(data("en.wav")));
  await page.reload();
  await waitForStatus(page, /^Ready/);
  const order = [];
  for (let i = 0; i < 4; i++) {
    await press("Tab");
    order.push(await focused());
  }
  assert.deepEqual(order, ["file", "record", "language", "task"]);
  await page.focus("#file");
  await press("Enter");
  await waitForStatus(page, /^Done/);
  await page.evaluate(() => (document.getElementById("audio").muted = true));

  await page.focus("#play");
  const stops = [];
  for (let i = 0; i < 9; i++) {
    await press("Tab");
    stops.push(await page.evaluate(() => document.activeElement.dataset.format ?? document.activeElement.id));
  }
  assert.deepEqual(stops, ["slider", "copy", "edit", "txt", "srt", "vtt", "json", "", ""]);
  assert.equal(await focused(), "time");

  await press("Enter"); // play from the segment's beginning
  await page.waitForFunction(() => document.querySelector("#segments li.now"));
  await press("ArrowRight");
  const firstWord = truth["en.wav"].text.trim().split(" ")[0];
  assert.equal(await page.evaluate(() => document.activeElement.textContent), firstWord);
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("role")), "button");
  await press("ArrowLeft");
  assert.equal(await focused(), "time");

  await page.focus("#more summary");
  await press("Enter");
  await press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.format), "tsv");
  await press("Escape");
  assert.equal(await page.evaluate(() => document.getElementById("more").open), false);

  await page.focus("#edit");
  await press("Enter");
  await press("Control+A");
  await page.keyboard.type("Seven.");
  await page.focus("#edit");
  await press("Enter");
  assert.equal(await shownText(page), "Seven.");
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.focus("[data-format=txt]").then(() => press(" ")),
  ]);
  assert.equal(readFileSync(await file.path(), "utf-8"), "Seven.\n");
});

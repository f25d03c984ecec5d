// The page in each state, on a phone and on a large screen, light and dark: axe-core finds nothing, nothing is cut off.
//
// WHISPER_APR_SCREENSHOTS names a folder for pictures of all states.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { convert, data, start, twoVoices, waitForStatus, wav } from "./harness.mjs";

const { BROWSER_MODULES, WHISPER_APR_SCREENSHOTS: FOLDER } = process.env;
const AXE = readFileSync(createRequire(`${BROWSER_MODULES}/`).resolve("axe-core/axe.min.js"), "utf-8");
const LOOKS = [["light", 360], ["dark", 360], ["light", 1440], ["dark", 1440]];
let setup, page;

before(async () => {
  setup = await start(["--model", "digits", "--model", convert("int8")]);
});
after(() => setup.end());

/** Check a state in all looks. */
async function check(state) {
  for (const [colorScheme, width] of LOOKS) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: width === 360 ? 740 : 900 });
    const look = `${state}-${width}-${colorScheme}`;
    if (FOLDER) await page.screenshot({ path: join(FOLDER, `${look}.png`) });
    const violations = await page.evaluate(async () => {
      const { violations } = await window.axe.run();
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
    });
    assert.deepEqual(violations, [], look);
    const cut = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(cut <= 0, `${look} is ${cut} px too wide`);
  }
}

test("while the model is loaded, and when it cannot be", async () => {
  setup.proxy.faults["/worker.js"] = (_, response) => response.writeHead(404).end();
  page = await setup.page();
  await page.addScriptTag({ content: AXE }).catch(() => {}); // refused by the page's policy
  assert.equal(await page.evaluate(() => "axe" in window), false);
  await page.context().close();

  page = await setup.page("", { bypassCSP: true });
  await page.addScriptTag({ content: AXE });
  await waitForStatus(page, /could not/);
  await check("failed");
  setup.proxy.faults = {};
  await page.click("#retry");
  await waitForStatus(page, /^(Starting|Loading)/);
  await check("loading");
});

test("ready; the models", async () => {
  await waitForStatus(page, /^Ready/);
  await check("ready");
  await page.click("#choose-model");
  await page.locator("#model-list li").first().waitFor();
  await check("models");
  await page.click("#models-close");
});

test("an error", async () => {
  await page.setInputFiles("#file", { name: `${"long-".repeat(30)}.wav`, mimeType: "audio/wav", buffer: wav([]) });
  await page.waitForSelector("#error:not([hidden])");
  await check("error");
});

test("a transcription that goes on, and one that was cancelled", async () => {
  const speech = readFileSync(data("de.wav")).subarray(44);
  const bytes = Buffer.concat(Array.from({ length: 100 }, () => speech));
  const long = wav(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
  await page.setInputFiles("#file", { name: "long.wav", mimeType: "audio/wav", buffer: long });
  await page.waitForFunction(() => document.querySelectorAll("#segments li").length > 2);
  await check("running");
  assert.equal(await page.locator("#cancel").isVisible(), true, "the recording was too short for this test");
  await page.click("#cancel");
  await waitForStatus(page, /^Cancelled/);
  await check("cancelled");
});

test("a result, its menu, and corrections", async () => {
  await page.setInputFiles("#file", data("en_three.flac"));
  await waitForStatus(page, /^Done/);
  await check("done");
  await page.click("#more summary");
  await check("menu");
  await page.keyboard.press("Escape");
  await page.click("#edit");
  await check("editing");
  await page.click("#edit");
});

test("speakers in all colors, and a name that is changed", async () => {
  await page.click("#options summary");
  await page.selectOption("#speakers", "auto");
  await page.setInputFiles("#file", twoVoices());
  await waitForStatus(page, /^Done.*Speakers: 2/);
  await check("speakers");
  await page.evaluate(() => {
    const list = document.getElementById("speaker-list");
    for (let color = 1; color <= 8; color++) {
      const item = list.appendChild(list.firstElementChild.cloneNode(true));
      item.firstElementChild.dataset.color = color;
    }
  });
  await page.locator("#segments .speaker:visible").nth(1).click();
  await check("naming");
  await page.keyboard.press("Escape");
});

test("live captions", async () => {
  await page.click("#record");
  await waitForStatus(page, /^Listening/);
  await check("live");
  await page.click("#stop");
  await waitForStatus(page, /^Done/);
});

// The page at `/` in Chromium: a recording is uploaded, its text is shown and downloaded, and errors are told.
//
// Environment variables, set by test_page_browser.py: NODE_MODULES, with playwright-core; SERVER_URL; SERVER_KEY;
// RECORDING, a file; TEXT, what is said in it; SCREENSHOT, the file of a picture to be made; CHROMIUM, the program.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { after, before, test } from "node:test";

const { NODE_MODULES, SERVER_URL, SERVER_KEY, RECORDING, TEXT, SCREENSHOT, CHROMIUM } = process.env;
const { chromium } = createRequire(`${NODE_MODULES}/`)("playwright-core");
const timeout = 120_000; // milliseconds, for a busy machine

let browser, page;
const errors = [];

before(async () => {
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-gpu"], timeout });
  page = await browser.newPage({ viewport: { width: 900, height: 900 } });
  page.setDefaultTimeout(timeout);
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`${SERVER_URL}/`);
  await page.waitForSelector("body[data-loaded=true]");
});
after(() => browser?.close());

const upload = (state) =>
  Promise.all([page.waitForSelector(`body[data-state=${state}] #status:not(:text("Ready"))`), choose(RECORDING)]);
const choose = (file) => page.setInputFiles("#file", file);

test("without the key, the server's message is shown", async () => {
  await upload("ready");
  assert.match(await page.textContent("#error"), /API key/);
  assert.ok(await page.isVisible("#error"));
});

test("a recording's text is shown", async () => {
  assert.equal(await page.textContent("#model"), "digits");
  await page.fill("#key", SERVER_KEY);
  await page.selectOption("#language", "en");
  await upload("done");
  assert.equal(await page.textContent("#text"), TEXT);
  assert.ok(await page.isHidden("#error"));
  assert.match(await page.textContent("#detail"), /^4\.8 s of sound in \d+\.\d s$/);
  await page.screenshot({ path: SCREENSHOT });
});

test("subtitles are downloaded", async () => {
  const [download] = await Promise.all([page.waitForEvent("download"), page.click("[data-format=srt]")]);
  assert.equal(download.suggestedFilename(), "en.srt");
  const written = readFileSync(await download.path(), "utf-8");
  assert.ok(written.startsWith("1\n00:00:0"), written);
  assert.ok(written.includes(TEXT));
});

test("a file that is not a recording is reported as an error", async () => {
  await choose({ name: "no.wav", mimeType: "audio/wav", buffer: Buffer.from("no sound") });
  await page.waitForSelector("#error:not([hidden])");
  assert.equal(await page.textContent("#status"), "Failed");
  assert.match(await page.textContent("#error"), /no\.wav|recording|format/);
});

test("nothing went wrong in the page's scripts", () => assert.deepEqual(errors, []));

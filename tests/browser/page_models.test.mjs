// The page with several models: the chooser, what is kept in the browser, and how to remove it.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { convert, data, nativeAsPage, shownText, start, twoVoices, waitForStatus } from "./harness.mjs";

const truth = nativeAsPage("en.wav");
let setup, page;

before(async () => {
  setup = await start(["--model", "digits", "--model", convert("int8")]);
  page = await setup.page();
  await waitForStatus(page, /^Ready|could not/);
});
after(() => setup.end());
afterEach(() => assert.deepEqual(setup.errors.splice(0), [], "errors in the console"));

const items = () => page.locator("#model-list li");
const texts = async () => (await items().locator(".quiet").allTextContents()).map((text) => text.replace(/^.*· /, ""));

test("models are listed with sizes, and which are kept; another one is chosen with the keyboard", async () => {
  assert.equal(await page.textContent("#model-name"), "digits");
  assert.match(await page.textContent("#model-size"), /^[\d.]+ MB$/);
  await page.focus("#choose-model");
  await page.keyboard.press("Enter");
  await items().first().waitFor();
  assert.deepEqual(await items().locator(".model-name").allTextContents(), ["digits", "int8"]);
  assert.deepEqual(await texts(), ["Kept in this browser", "Not downloaded yet"]);
  assert.equal(await items().first().getAttribute("aria-current"), "true");
  assert.equal(await page.evaluate(() => document.activeElement.className), "choose");
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#models").isVisible(), false);
  assert.equal(await page.evaluate(() => document.activeElement.id), "choose-model");

  await page.click("#choose-model");
  await items().nth(1).locator(".choose").click();
  await waitForStatus(page, /^(Starting|Loading)/);
  await waitForStatus(page, /^Ready/);
  assert.equal(await page.textContent("#model-name"), "int8");
  await page.setInputFiles("#file", data("en.wav"));
  await waitForStatus(page, /^Done/);
  assert.equal(await shownText(page), truth["en.wav"].text.trim());
});

test("the chosen model is taken again at the next visit, from the cache", async () => {
  setup.proxy.requests.length = 0;
  await page.reload();
  await waitForStatus(page, /^Ready/);
  assert.equal(await page.textContent("#model-name"), "int8");
  assert.deepEqual(setup.proxy.requests, [["HEAD", null]]);
});

test("a model is removed from the browser", async () => {
  await page.click("#choose-model");
  await page.click("[aria-label='Remove digits from this browser']");
  await page.waitForFunction(() => /Not downloaded/.test(document.querySelector("#model-list li").textContent));
  assert.deepEqual(await texts(), ["Not downloaded yet", "Kept in this browser"]);
  assert.equal(await page.textContent("#announcer"), "digits was removed from this browser");
  const urls = await page.evaluate(async () => {
    const cache = await caches.open("whisper-apr-models");
    return (await cache.keys()).map(({ url }) => new URL(url).pathname);
  });
  assert.deepEqual([...new Set(urls)], ["/models/int8.apr"]);
  await page.click("#models-close");
});

test("the networks for speakers are listed once they are kept, and removed", async () => {
  const keptParts = () =>
    page.evaluate(async () => {
      const keys = await (await caches.open("whisper-apr-models")).keys();
      return keys.filter(({ url }) => url.includes("speakers.zip")).length;
    });
  const tellApart = async () => {
    await page.evaluate(() => (document.getElementById("options").open = true));
    await page.selectOption("#speakers", "2");
    await page.setInputFiles("#file", file);
    await waitForStatus(page, /^Done/);
    assert.ok((await keptParts()) > 0);
  };
  const file = twoVoices();
  const remove = page.locator("[aria-label='Remove Networks for speakers from this browser']");
  assert.equal(await keptParts(), 0);
  await tellApart();

  await page.click("#choose-model");
  await items().nth(2).waitFor();
  assert.deepEqual(await items().locator(".model-name").allTextContents(), ["digits", "int8", "Networks for speakers"]);
  assert.match(await items().nth(2).locator(".quiet").textContent(), /^1\d MB · Kept in this browser$/);
  assert.equal(await items().nth(2).locator(".choose").count(), 0);
  await remove.focus();
  await page.keyboard.press("Enter");
  await remove.waitFor({ state: "detached" });
  assert.deepEqual(await items().locator(".model-name").allTextContents(), ["digits", "int8"]);
  assert.equal(await page.textContent("#announcer"), "Networks for speakers were removed from this browser");
  assert.equal(await page.evaluate(() => document.activeElement.id), "models-close");
  assert.equal(await keptParts(), 0);
  await page.click("#models-close");

  setup.proxy.counts = {};
  await page.reload();
  await waitForStatus(page, /^Ready/);
  await tellApart();
  assert.ok(setup.proxy.counts["/speakers.zip"] > 0);
});

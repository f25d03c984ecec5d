// The page and the class in each engine, BROWSER_ENGINE: transcribing and cancelling, with and without JavaScript
// Promise Integration. The engine "no-jspi" is Chromium without it.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { FaultyProxy, SLOW, data, nativeAsPage, serve, wav, withoutPromiseIntegration } from "./harness.mjs";
import { openEngine } from "./engines.mjs";

const { BROWSER_ENGINE: ENGINE = "chromium" } = process.env;
const RECORDINGS = ["de.wav", "en.wav"];
const truth = nativeAsPage(...RECORDINGS);
let server, proxy, engine, page;

before(async () => {
  server = await serve();
  proxy = await new FaultyProxy(server.url).open();
  if (ENGINE === "no-jspi") withoutPromiseIntegration(proxy);
  engine = await openEngine[ENGINE]();
  page = await engine.page();
  await page.goto(proxy.url);
});
after(async () => {
  await engine?.close();
  proxy?.server.closeAllConnections();
  proxy?.server.close();
  server?.child.kill();
});
afterEach(() => (proxy.fault = null));

const status = () => page.evaluate(() => document.getElementById("status").textContent);
const shown = () =>
  page.evaluate(() => [...document.querySelectorAll("#segments .text")].map((item) => item.textContent).join(" "));

async function waitForStatus(pattern) {
  for (const end = Date.now() + SLOW; !pattern.test(await status()); ) {
    assert.ok(Date.now() < end, `the status stays "${await status()}"`);
    await new Promise((done) => setTimeout(done, 100));
  }
}

/** Choose a file in the page, or drop it there. */
const give = (name, bytes, how = "choose") =>
  page.evaluate(
    async ({ name, base64, how }) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type: "audio/wav" }));
      if (how === "drop") {
        const event = new Event("drop", { bubbles: true, cancelable: true });
        dispatchEvent(Object.assign(event, { dataTransfer: { files: [transfer.files[0]] } }));
        return;
      }
      const input = document.getElementById("file");
      input.files = transfer.files;
      input.dispatchEvent(new Event("change"));
    },
    { name, base64: bytes.toString("base64"), how },
  );
const choose = (name, how) => give(name, readFileSync(data(name)), how);

/** A recording of several windows. */
function long() {
  const speech = readFileSync(data("de.wav")).subarray(44);
  const bytes = Buffer.concat(Array.from({ length: 12 }, () => speech));
  return wav(new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length)));
}

// Record every state that the page shows, and every worker that it starts.
const observe = () =>
  page.evaluate(() => {
    window.states = [];
    const note = () => {
      const [status, detail] = ["status", "detail"].map((id) => document.getElementById(id).textContent);
      window.states.push([status, detail, document.querySelectorAll("#segments li").length]);
    };
    window.observer?.disconnect();
    window.observer = new MutationObserver(note);
    const options = { childList: true, characterData: true, subtree: true };
    for (const id of ["status", "detail", "segments"]) window.observer.observe(document.getElementById(id), options);
  });
const states = () => page.evaluate(() => window.states);

test("a file dropped while the model is loaded is transcribed once it is ready", async () => {
  await waitForStatus(/^(Starting Python|Loading)/);
  await choose("de.wav", "drop");
  assert.match(await page.evaluate(() => document.getElementById("next").textContent), /Next: de\.wav/);
  await waitForStatus(/^Done|could not/);
  assert.equal(await shown(), truth["de.wav"].text.trim());
  assert.equal(await page.evaluate(() => document.getElementById("next").hidden), true);
});

test("a recording is transcribed, with progress in seconds", async () => {
  await observe();
  await choose("en.wav");
  await waitForStatus(/^Done/);
  assert.equal(await shown(), truth["en.wav"].text.trim());
  const during = (await states()).filter(([text]) => text.startsWith("Transcribing"));
  assert.ok(during.some(([, detail]) => /^\d+:\d\d of 0:\d\d$/.test(detail)), JSON.stringify(during));
});

test("segments appear before the result", async () => {
  await observe();
  await give("long.wav", long());
  await waitForStatus(/^Done/);
  assert.ok((await states()).some(([text, , count]) => text.startsWith("Transcribing") && count > 0));
});

// Let workers that are terminated report an error afterwards, as Pyodide does if it was about to free an object.
const reportErrorsLate = () =>
  page.evaluate(() => {
    const { terminate } = Worker.prototype;
    Worker.prototype.terminate = function () {
      terminate.call(this);
      setTimeout(() => this.dispatchEvent(new ErrorEvent("error", { message: "from a terminated worker" })), 100);
    };
  });

test("Cancel ends a transcription; the worker is kept, or at once replaced", async () => {
  const canPause = ENGINE !== "no-jspi" && (await page.evaluate(() => "Suspending" in WebAssembly));
  const workers = () => proxy.counts["/worker.js"] ?? 0;
  await waitForStatus(/^(Ready|Done)/); // also if the tests before this one are left out
  const before = workers();
  await reportErrorsLate();
  await give("long.wav", long());
  await waitForStatus(/^Transcribing/);
  await observe();
  await page.evaluate(() => document.getElementById("cancel").click());
  await waitForStatus(/^Cancelled/);
  const replaced = canPause ? 0 : 1;
  for (const end = Date.now() + SLOW; workers() - before < replaced; ) {
    assert.ok(Date.now() < end, "no worker is started");
    await new Promise((done) => setTimeout(done, 50));
  }
  assert.match(await status(), /^Cancelled/); // the page does not show that it is started
  const began = Date.now();
  await choose("de.wav");
  await waitForStatus(/^Done/);
  console.log(`the next file took ${Date.now() - began} ms`);
  assert.equal(await shown(), truth["de.wav"].text.trim());
  assert.equal(workers() - before, replaced);
  for (const [text, detail] of await states()) {
    if (/^(Starting|Loading)/.test(text) && detail) assert.match(detail, /^[\d.]+( of [\d.]+)? MB$/);
    else if (detail) assert.match(detail, /^\d+:\d\d of \d+:\d\d$/);
  }
});

test("a file dropped during a transcription waits; after a cancel it is transcribed", async () => {
  await give("long.wav", long());
  await waitForStatus(/^Transcribing/);
  await choose("en.wav", "drop");
  assert.match(await page.evaluate(() => document.getElementById("next").textContent), /Next: en\.wav/);
  await page.evaluate(() => document.getElementById("cancel").click());
  await waitForStatus(/^Done/);
  assert.equal(await shown(), truth["en.wav"].text.trim());
});

test("after a cancel the text so far can be downloaded", async () => {
  await give("long.wav", long());
  await waitForStatus(/^Transcribing/);
  const count = () => page.evaluate(() => document.querySelectorAll("#segments li").length);
  for (const end = Date.now() + SLOW; !(await count()); ) {
    assert.ok(Date.now() < end, "no segment appears");
    await new Promise((done) => setTimeout(done, 20));
  }
  await page.evaluate(() => document.getElementById("cancel").click());
  await waitForStatus(/^Cancelled at/);
  const text = await page.evaluate(async () => {
    const saved = new Promise((done) => (URL.createObjectURL = (blob) => (done(blob.text()), "#")));
    document.querySelector("[data-format=txt]").click();
    return saved;
  });
  assert.equal(text.replaceAll("\n", " ").trim(), await shown());
  await waitForStatus(/^Cancelled at/);
});

test("two threads compute, also when Python is restored from a snapshot at the second start", async () => {
  await engine.close(); // to get a new profile, in which no service worker answers for the server
  engine = await openEngine[ENGINE]({ JSC_useSharedArrayBuffer: "1" }); // WebKitGTK, unlike Safari, lacks it by default
  page = await engine.page();
  await page.goto(`${proxy.url}blank`);
  const load = () =>
    page.evaluate(async () => {
      const { Whisper } = await import("/whisper.js");
      window.whisper?.close();
      window.whisper = await Whisper.load({ threads: 2 });
      return window.whisper.threads;
    });
  assert.equal(await load(), 2);
  const isKept = () => page.evaluate(async () => (await (await caches.open("whisper-apr-python")).keys()).length > 0);
  for (const end = Date.now() + SLOW; !(await isKept()); ) {
    assert.ok(Date.now() < end, "no snapshot is kept");
    await new Promise((done) => setTimeout(done, 100));
  }
  proxy.log.length = 0;
  assert.equal(await load(), 2); // in the same page: a WebKit that is automated keeps no caches for another one
  const wheels = proxy.log.filter((line) => line.endsWith(".whl"));
  assert.ok(wheels.length > 0 && wheels.every((line) => line.startsWith("HEAD ")), `not restored: ${wheels}`);
  const text = await page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    return (await window.whisper.transcribe(new Blob([bytes]))).text;
  }, readFileSync(data("de.wav")).toString("base64"));
  assert.equal(text, truth["de.wav"].text);
});

// Loading where the server or the connection fails: errors instead of waiting for ever, and a second try.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { data, inWorker, nativeAsPage, shownText, start, waitForStatus } from "./harness.mjs";

const truth = nativeAsPage("de.wav");
let setup, wasm;

before(async () => {
  setup = await start();
  const { pyodide } = await (await fetch(`${setup.proxy.url}settings.json`)).json();
  wasm = new URL(`${pyodide ?? ""}pyodide.asm.wasm`, setup.proxy.url);
});
after(() => setup.end());
afterEach(() => {
  setup.proxy.fault = null;
  setup.proxy.faults = {};
  setup.proxy.requests.length = 0;
  setup.errors.length = 0; // Chromium and Pyodide report these failures in the console
});
// Pyodide from its CDN does not pass the proxy
const isLocal = () => wasm.host === new URL(setup.proxy.url).host;

/** Answer the next request for Pyodide's WebAssembly, or all of them, by `fault`. */
const breakWasm = (fault) => (setup.proxy.faults[wasm.pathname] = fault);

/** Load in an empty page; returns null or the error's message. */
const load = (page, options = {}) =>
  page.evaluate(async (options) => {
    const { Whisper } = await import("/whisper.js");
    return Whisper.load(options).then(() => null, ({ message }) => message);
  }, options);

test("the page shows why Pyodide cannot start, and tries again", async (context) => {
  if (!isLocal()) return context.skip("Pyodide is not local");
  breakWasm((_, response, { status, headers, body }) => {
    const half = body.subarray(0, body.length / 2);
    response.writeHead(status, { ...headers, "content-length": half.length }).end(half);
    return true;
  });
  const page = await setup.page();
  await waitForStatus(page, /could not be loaded/);
  assert.match(await page.textContent("#error"), /pyodide\.asm\.wasm: it is damaged, incomplete or not WebAssembly/);
  assert.equal(await page.locator("#cancel").isVisible(), false);
  setup.proxy.faults = {};
  await page.click("#retry");
  await waitForStatus(page, /^(Starting|Loading)/);
  await page.click("#cancel");
  await waitForStatus(page, /^Loading was cancelled/);
  assert.equal(await page.locator("#error").isVisible(), false);
  await page.click("#retry");
  await waitForStatus(page, /^Ready/);
  assert.equal(await page.locator("#retry").isVisible(), false);
  await page.setInputFiles("#file", data("de.wav"));
  await waitForStatus(page, /^Done/);
  assert.equal(await shownText(page), truth["de.wav"].text.trim());
  await page.context().close();
});

test("Pyodide's files that are missing, are another file, or stop arriving are errors", async (context) => {
  if (!isLocal()) return context.skip("Pyodide is not local");
  const page = await setup.page("blank");
  breakWasm((_, response) => response.writeHead(404).end());
  assert.match(await load(page), /pyodide\.asm\.wasm: the server responded with 404/);
  breakWasm((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<p>sign in"));
  assert.match(await load(page), /pyodide\.asm\.wasm: it is damaged, incomplete or not WebAssembly/);
  breakWasm((_, response, { status, headers, body }) => {
    response.writeHead(status, headers).write(body.subarray(0, 1e6));
    return true;
  });
  assert.match(await load(page, { timeout: 3000 }), /pyodide\.asm\.wasm: nothing was received for 3 s/);
  for (const end = Date.now() + 10_000; page.workers().length && Date.now() < end; ) await page.waitForTimeout(100);
  assert.equal(page.workers().length, 0);
  await page.context().close();
});

test("a stalled transfer of the model is resumed", async () => {
  const page = await setup.page("blank");
  let isFirst = true;
  setup.proxy.fault = ({ method }, response, { status, headers, body }) => {
    if (method !== "GET" || !isFirst) return false;
    isFirst = false;
    response.writeHead(status, headers).write(body.subarray(0, 1 << 20));
    return true;
  };
  assert.equal(await load(page, { timeout: 8000 }), null);
  const ranges = setup.proxy.requests.filter(([method]) => method === "GET").map(([, range]) => range);
  assert.deepEqual(ranges, [null, `bytes=${1 << 20}-`]);
  await page.context().close();
});

for (const name of ["CacheStorage.prototype.open", "Cache.prototype.match", "Cache.prototype.put"]) {
  test(`the model is loaded where ${name} gives no answer`, async () => {
    inWorker(setup.proxy, `${name} = () => new Promise(() => {});`);
    const page = await setup.page("blank");
    const found = await Promise.race([load(page, { timeout: 8000 }), page.waitForTimeout(60_000).then(() => "late")]);
    assert.equal(found, null);
    await page.context().close();
  });
}

for (const [name, hidden] of [["", false], [", and does not say so,", true]]) {
  test(`a model that the server compresses${name} is loaded and kept by its weak ETag`, async () => {
    const page = await setup.page("blank");
    // a server on another origin may hide the header; here the page is made blind to it
    if (hidden) hideEncoding();
    setup.proxy.fault = ({ method }, response, { body }) => {
      const head = { "content-type": "application/octet-stream", "content-encoding": "gzip", etag: 'W/"weak"' };
      const bytes = gzipSync(body, { level: 1 });
      if (method === "HEAD") response.writeHead(200, head).end();
      else response.writeHead(200, { ...head, "content-length": bytes.length }).end(bytes);
      return true;
    };
    if (wasm.host === new URL(setup.proxy.url).host) {
      breakWasm((_, response, { status, headers, body }) => {
        response.writeHead(status, { ...headers, "content-type": "application/octet-stream" }).end(body);
        return true;
      });
    }
    assert.equal(await load(page), null);
    setup.proxy.requests.length = 0;
    await page.reload();
    assert.equal(await load(page), null);
    assert.deepEqual(setup.proxy.requests, [["HEAD", null]]);
    await page.context().close();
  });
}

/** Wait until a page keeps a snapshot of Python, of this size unless it is undefined. Returns the size. */
async function waitForSnapshot(page, expected) {
  const handle = await page.waitForFunction(async (expected) => {
    const cache = await caches.open("whisper-apr-python");
    const [key] = await cache.keys();
    const size = key && (await (await cache.match(key)).blob()).size;
    return size === (expected ?? size) && size;
  }, expected);
  return handle.jsonValue();
}

/** Load in an empty page, and wait until it keeps a snapshot. Returns the page, the wheel's path and the size. */
async function loadWithSnapshot() {
  const page = await setup.page("blank");
  assert.equal(await load(page), null);
  const size = await waitForSnapshot(page);
  const { wheel } = await (await fetch(`${setup.proxy.url}settings.json`)).json();
  setup.errors.length = 0;
  setup.proxy.log.length = 0;
  await page.reload();
  return { page, wheel: `/${wheel}`, size };
}

const transcribe = (page, name) =>
  page.evaluate(
    async (base64) => {
      const { Whisper } = await import("/whisper.js");
      const whisper = await Whisper.load();
      const samples = await (await fetch(`data:audio/wav;base64,${base64}`)).blob();
      // these import more modules
      const options = { wordTimestamps: true, temperature: 0.5, seed: 1, vad_filter: true };
      return [(await whisper.transcribe(samples)).text, (await whisper.transcribe(samples, options)).segments.length];
    },
    readFileSync(data(name)).toString("base64"),
  );

test("the second visit restores Python from a snapshot", async () => {
  const { page, wheel } = await loadWithSnapshot();
  const [text, segments] = await transcribe(page, "de.wav");
  assert.equal(text, truth["de.wav"].text);
  assert.ok(segments > 0);
  assert.ok(setup.proxy.log.includes(`HEAD ${wheel}`));
  assert.ok(!setup.proxy.log.includes(`GET ${wheel}`), "the wheel was loaded again");
  assert.deepEqual(setup.errors, []);
  await page.context().close();
});

const START = `
import { startPython } from "/startup.js";
onmessage = async ({ data: [places, code] }) => {
  const { python } = await startPython(places, () => {});
  postMessage(python.runPython(code));
};
`;
// Returns the modules that were imported from source text, as JSON.
const UNCOMPILED = `
import importlib.util, json, sys
from pathlib import Path

def is_compiled(spec):
    if spec.origin.startswith("/lib/python314.zip/"):
        return spec.origin.endswith(".pyc")
    bytecode = Path(spec.cached)
    if not bytecode.exists():
        return False
    # the number of the version, a flag that the hash is to be checked, and the source's hash
    head = importlib.util.MAGIC_NUMBER + (3).to_bytes(4, "little")
    return bytecode.read_bytes()[:16] == head + importlib.util.source_hash(Path(spec.origin).read_bytes())

specs = [module.__spec__ for module in list(sys.modules.values()) if getattr(module, "__spec__", None)]
json.dumps([spec.name for spec in specs if (spec.origin or "").endswith((".py", ".pyc")) and not is_compiled(spec)])
`;

test("no module is compiled while Python starts for the first time", async () => {
  const page = await setup.page("blank");
  const uncompiled = await page.evaluate(
    async ([script, code]) => {
      const settings = await (await fetch("/settings.json")).json();
      const all = { pyodide: "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/", ...settings };
      const urls = ["pyodide", "numpy", "wheel"].filter((name) => all[name]);
      const places = Object.fromEntries(urls.map((name) => [name, new URL(all[name], location.href).href]));
      const source = script.replace('"/', `"${location.origin}/`);
      const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      const worker = new Worker(url, { type: "module" });
      return new Promise((done, fail) => {
        worker.onmessage = ({ data }) => done(data);
        worker.onerror = ({ message }) => fail(new Error(message));
        worker.postMessage([{ ...places, fast: false, timeout: 60_000 }, code]);
      });
    },
    [START, UNCOMPILED],
  );
  assert.deepEqual(JSON.parse(uncompiled), []);
  await page.context().close();
});

/** Change the identifier of Pyodide's build, which is in the head of the memory, which is after the snapshot's head. */
function changeBuild(bytes) {
  bytes[4 + new DataView(bytes.buffer).getUint32(0, true) + 20] ^= 1;
  return bytes;
}

const damageSnapshot = (page, change) =>
  page.evaluate(async (source) => {
    const cache = await caches.open("whisper-apr-python");
    const [key] = await cache.keys();
    const bytes = new Uint8Array(await (await cache.match(key)).arrayBuffer());
    await cache.put(key, new Response(new Function("bytes", `return (${source})(bytes)`)(bytes)));
  }, String(change));

test("a snapshot of another wheel, NumPy or Pyodide, or one that is cut off, is not used", async () => {
  const { page, wheel, size } = await loadWithSnapshot();
  const faults = {
    "another wheel": () => {
      setup.proxy.faults[wheel] = (_, response, { status, headers, body }) => {
        response.writeHead(status, { ...headers, etag: '"another"' }).end(body);
        return true;
      };
    },
    "cut off": () => damageSnapshot(page, (bytes) => bytes.subarray(0, bytes.length / 2)),
    "another Pyodide": () => damageSnapshot(page, changeBuild),
  };
  for (const [fault, cause] of Object.entries(faults)) {
    await cause();
    setup.proxy.log.length = 0;
    assert.equal(await load(page), null, fault);
    assert.ok(setup.proxy.log.includes(`GET ${wheel}`), fault);
    await waitForSnapshot(page, size); // a new one is kept
  }
  if (isLocal()) {
    const { numpy } = await (await fetch(`${setup.proxy.url}settings.json`)).json();
    setup.proxy.log.length = 0;
    assert.equal(await load(page, { numpy: `${numpy}?another` }), null);
    assert.ok(setup.proxy.log.includes(`GET ${wheel}`), "another NumPy");
  }
  await page.context().close();
});

// Let the worker see no Content-Encoding.
function hideEncoding() {
  setup.proxy.faults["/worker.js"] = (_, response, { status, headers, body }) => {
    delete headers["content-length"];
    const blind = `const get = Headers.prototype.get;
Headers.prototype.get = function (name) { return name === "content-encoding" ? null : get.call(this, name); };\n`;
    response.writeHead(status, headers).end(blind + body);
    return true;
  };
}

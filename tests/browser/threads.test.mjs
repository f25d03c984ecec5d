// Several threads: in pages that are cross-origin isolated, and what happens where they cannot be had.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, afterEach, before, test } from "node:test";
import { data, inWorker, native, randomModel, start } from "./harness.mjs";

const truth = native("en.wav");
let setup;

before(async () => {
  setup = await start();
});
after(() => setup.end());
afterEach(() => {
  setup.proxy.isolated = true;
  setup.proxy.fault = null;
  setup.proxy.faults = {};
});

/** Load the model in a page, and transcribe. Returns the page, its threads and the text, or the error's message. */
async function transcribe(options, page) {
  page ??= await setup.page("blank");
  const found = await page.evaluate(
    async ([base64, options]) => {
      const { Whisper } = await import("/whisper.js");
      try {
        window.whisper = await Whisper.load(options);
      } catch ({ name, message }) {
        return { name, message };
      }
      const recording = await (await fetch(`data:audio/wav;base64,${base64}`)).blob();
      const { text } = await window.whisper.transcribe(recording);
      const { threads } = window.whisper;
      return { isolated: crossOriginIsolated, cores: navigator.hardwareConcurrency, threads, text };
    },
    [readFileSync(data("en.wav")).toString("base64"), options],
  );
  return { page, ...found };
}

const threadWorkers = (page) => page.workers().filter((worker) => worker.url().endsWith("/thread.js")).length;
async function waitForWorkers(page, n) {
  for (let tries = 0; page.workers().length !== n; tries++) {
    assert.ok(tries < 100, `there are ${page.workers().length} workers`);
    await new Promise((done) => setTimeout(done, 50));
  }
}
const close = ({ page }) => page.context().close();
const noErrors = () => assert.deepEqual(setup.errors.splice(0), []);

test("by default there are as many threads as processors, at most four; close() ends them", async () => {
  const found = await transcribe({});
  assert.equal(found.isolated, true);
  assert.equal(found.threads, Math.min(4, found.cores));
  assert.equal(threadWorkers(found.page), found.threads - 1);
  await found.page.evaluate(() => window.whisper.close());
  await waitForWorkers(found.page, 0);
  await close(found);
  noErrors();
});

test("one thread is used where the page is not cross-origin isolated", async () => {
  setup.proxy.isolated = false;
  const found = await transcribe({ threads: 2 });
  assert.equal(found.isolated, false);
  assert.equal(found.threads, 1);
  assert.equal(found.text, truth["en.wav"].text);
  await close(found);
  noErrors();
});

test("one thread is used where the others do not start", async () => {
  setup.proxy.faults["/thread.js"] = (_, response) => {
    response.writeHead(404).end();
    return true;
  };
  const found = await transcribe({ threads: 2 });
  assert.equal(found.threads, 1);
  assert.equal(found.text, truth["en.wav"].text);
  await close(found);
  assert.ok(setup.errors.splice(0).some((text) => text.startsWith("whisper_apr uses one thread: ")));
});

for (const [name, warning, script] of [
  ["the browser lacks SharedArrayBuffer", "", "delete self.SharedArrayBuffer;"],
  ["memory cannot be shared", "", `
    WebAssembly.Memory = new Proxy(WebAssembly.Memory, {
      construct(target, [options]) {
        if (options.shared && options.maximum > 1) throw new RangeError("there is no shared memory");
        return new target(options);
      },
    });`],
  ["Python does not start on shared memory", "whisper_apr uses one thread: there is not enough memory", `
    const { instantiate } = WebAssembly;
    WebAssembly.instantiate = async (...given) => {
      const found = await instantiate.call(WebAssembly, ...given);
      const all = Object.values((found.instance ?? found).exports);
      if (all.some((one) => one.buffer instanceof SharedArrayBuffer)) throw new RangeError("there is no shared memory");
      return found;
    };`],
  ["shared memory cannot grow while Python starts", "whisper_apr uses one thread: ", `
    const { grow } = WebAssembly.Memory.prototype;
    WebAssembly.Memory.prototype.grow = function (n) {
      if (this.buffer instanceof SharedArrayBuffer) throw new RangeError("there is no more shared memory");
      return grow.call(this, n);
    };`],
]) {
  test(`one thread is used where ${name}`, async () => {
    inWorker(setup.proxy, script);
    const found = await transcribe({ threads: 2 });
    assert.equal(found.message, undefined);
    assert.equal(found.threads, 1);
    assert.equal(found.text, truth["en.wav"].text);
    await close(found);
    assert.ok(!warning || setup.errors.some((text) => text.startsWith(warning)), setup.errors.join());
    setup.errors.length = 0;
  });
}

// The memory cannot grow after a first piece: before the header has arrived, and after it.
for (const first of [16, 100_000]) {
  test(`one thread is used where ${first} bytes of a model fill the memory`, async () => {
    const model = readFileSync(randomModel("tiny"));
    setup.proxy.fault = (_, response) => {
      response.writeHead(200, { "content-length": model.length }).write(model.subarray(0, first));
      setTimeout(() => response.end(model.subarray(first)), 500);
      return true;
    };
    inWorker(setup.proxy, `
      const { grow } = WebAssembly.Memory.prototype;
      WebAssembly.Memory.prototype.grow = function (n) {
        if (this.buffer instanceof SharedArrayBuffer && self.isLoading) throw new RangeError("there is no more memory");
        return grow.call(this, n);
      };
      const { postMessage } = self;
      self.postMessage = (message, ...rest) => {
        self.isLoading ||= message.type === "download";
        postMessage.call(self, message, ...rest);
      };`);
    const page = await setup.page("blank");
    const found = await page.evaluate(async () => {
      const { Whisper } = await import("/whisper.js");
      const { threads } = await Whisper.load({ model: "/tiny.apr", threads: 2 });
      return threads;
    });
    assert.equal(found, 1);
    await waitForWorkers(page, 1);
    await page.context().close();
    assert.deepEqual(setup.errors.splice(0), ["whisper_apr uses one thread: there is not enough shared memory"]);
  });
}

for (const [first, second] of [[2, 2], [1, 2], [2, 1]]) {
  test(`a snapshot of Python that was made with ${first} thread(s) is restored with ${second}`, async () => {
    const found = await transcribe({ threads: first });
    assert.equal(found.threads, first);
    assert.equal(found.text, truth["en.wav"].text);
    assert.equal(threadWorkers(found.page), first - 1);
    await found.page.waitForFunction(async () => (await (await caches.open("whisper-apr-python")).keys()).length);
    await found.page.evaluate(() => window.whisper.close());
    setup.proxy.log.length = 0;
    const again = await transcribe({ threads: second }, found.page);
    assert.equal(again.threads, second);
    assert.equal(again.text, truth["en.wav"].text);
    assert.ok(!setup.proxy.log.some((line) => /^GET .*\.whl$/.test(line)), "Python was started anew");
    await close(again);
    noErrors();
  });
}

test("a number of threads that makes no sense is refused", async () => {
  for (const threads of [0, 1.5, "two", 65]) {
    const found = await transcribe({ threads });
    assert.equal(found.name, "OptionError");
    assert.equal(found.message, `threads must be an integer from 1 to 64, not ${threads}`);
    await close(found);
  }
});

// The option `fast`: the kernels for relaxed SIMD, where the browser has it, and otherwise the usual ones.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { data, inWorker, native, start } from "./harness.mjs";

const { text } = native("en.wav")["en.wav"];
let setup;

before(async () => {
  setup = await start();
});
after(() => setup.end());

/** Load the model in a page, and transcribe. */
const transcribe = (page, options) =>
  page.evaluate(
    async ([base64, options]) => {
      const { Whisper } = await import("/whisper.js");
      const whisper = await Whisper.load(options);
      const recording = await (await fetch(`data:audio/wav;base64,${base64}`)).blob();
      const { text } = await whisper.transcribe(recording);
      const { fast, threads } = whisper;
      whisper.close();
      return { fast, threads, text };
    },
    [readFileSync(data("en.wav")).toString("base64"), options],
  );

test("the kernels for relaxed SIMD are used, with threads, and after a snapshot of the same kernels", async () => {
  const page = await setup.page("blank");
  assert.deepEqual(await transcribe(page, { fast: true, threads: 2 }), { fast: true, threads: 2, text });
  await page.waitForFunction(async () => (await (await caches.open("whisper-apr-python")).keys()).length);
  setup.proxy.log.length = 0;
  assert.deepEqual(await transcribe(page, { fast: true, threads: 1 }), { fast: true, threads: 1, text });
  assert.ok(!setup.proxy.log.some((line) => /^GET .*\.whl$/.test(line)), "Python was started anew");
  assert.deepEqual(await transcribe(page, { threads: 1 }), { fast: false, threads: 1, text });
  await page.context().close();
  assert.deepEqual(setup.errors.splice(0), []);
});

test("the usual kernels are used where the browser lacks relaxed SIMD", async () => {
  inWorker(setup.proxy, "WebAssembly.validate = () => false;");
  const page = await setup.page("blank");
  assert.deepEqual(await transcribe(page, { fast: true, threads: 1 }), { fast: false, threads: 1, text });
  await page.context().close();
  assert.deepEqual(setup.errors.splice(0), []);
});

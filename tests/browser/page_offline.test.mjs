// The page without a network, and as an installed application.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { data, nativeAsPage, shownText, start, waitForStatus } from "./harness.mjs";

const truth = nativeAsPage("en.wav");
let setup, page;

before(async () => {
  setup = await start();
});
after(() => setup.end());

test("after the first visit the page loads and transcribes without a network", async () => {
  page = await setup.page();
  await waitForStatus(page, /^Ready|could not/);
  const { server } = setup.proxy;
  const { port } = server.address();
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
  await page.reload();
  await waitForStatus(page, /^Ready|could not/);
  assert.match(await page.textContent("#status"), /^Ready/);
  await page.setInputFiles("#file", data("en.wav"));
  await waitForStatus(page, /^Done/);
  assert.equal(await shownText(page), truth["en.wav"].text.trim());
  await new Promise((done) => server.listen(port, "127.0.0.1", done));
});

test("files that have changed on the server replace those that were kept", async () => {
  setup.proxy.faults["/style.css"] = (_, response, { status, headers }) => {
    delete headers["content-length"];
    response.writeHead(status, headers).end("body { --changed: 1; }");
    return true;
  };
  await page.reload();
  const changed = () => page.evaluate(() => getComputedStyle(document.body).getPropertyValue("--changed"));
  assert.equal(await changed(), "1");
  setup.proxy.faults = {};
  await page.reload();
  assert.equal(await changed(), "");
});

test("models are not kept a second time by the service worker", async () => {
  const kept = await page.evaluate(async () => {
    const cache = await caches.open("whisper-apr-page");
    return (await cache.keys()).map(({ url }) => new URL(url).pathname);
  });
  assert.ok(kept.includes("/") && kept.includes("/worker.js") && kept.includes("/settings.json"), String(kept));
  assert.ok(!kept.some((path) => path.endsWith(".apr")), String(kept));
});

test("the page can be installed", async () => {
  const client = await page.context().newCDPSession(page);
  const { installabilityErrors } = await client.send("Page.getInstallabilityErrors");
  const real = installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"); // as all test profiles are
  assert.deepEqual(real, []);
  const { errors, data: manifest } = await client.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  for (const { src } of JSON.parse(manifest).icons) {
    assert.equal((await fetch(new URL(src, setup.proxy.url))).status, 200);
  }
});

test("the browser is asked once not to clear the models", async () => {
  await page.evaluate(() => {
    window.asked = 0;
    Object.defineProperty(navigator, "storage", {
      value: {
        persisted: async () => window.asked > 0,
        persist: async () => window.asked++ === 0,
      },
    });
  });
  await waitForStatus(page, /^Ready/);
  for (let i = 0; i < 2; i++) {
    await page.setInputFiles("#file", data("en.wav"));
    await waitForStatus(page, /^Transcribing|^Reading/);
    await waitForStatus(page, /^Done/);
  }
  assert.equal(await page.evaluate(() => window.asked), 1);
});

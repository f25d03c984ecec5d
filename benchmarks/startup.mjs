// Measure how long the page takes in Chromium until a transcription can begin: on the first visit, with an empty
// profile, and on later ones. Servers are visited alternately.
//
//   node benchmarks/startup.mjs [--rounds 5] [--visits 3] [--model MODEL] [--json docs/performance/browser.json]
//     [NAME=URL...]
//
// Each URL is that of a running `whisper-apr web`; without any, one is started, with the environment variables of
// tests/browser/harness.mjs.  Printed are medians of the time until "Ready" and of the processor time that Chromium's
// processes have used by then, and the largest files of a further first visit.
import { readFileSync, readdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { which } from "../tests/browser/engines.mjs";
import { FaultyProxy, serve, waitForStatus } from "../tests/browser/harness.mjs";
import { save } from "./figures.mjs";

const { chromium } = createRequire(`${process.env.BROWSER_MODULES}/`)("playwright-core");
const TICKS = 100; // of processor time per second, in /proc
const SETTLE = 3000; // milliseconds after a visit, in which the browser stores what it keeps

const { values, positionals } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    visits: { type: "string", default: "3" },
    model: { type: "string", default: "digits" },
    json: { type: "string" },
  },
  allowPositionals: true,
});

/** Seconds of processor time of a process, its children and theirs, also of those that have ended. */
function processorTime(root) {
  const processes = new Map();
  for (const id of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const text = readFileSync(`/proc/${id}/stat`, "utf-8");
      const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
      const ticks = fields.slice(11, 15).reduce((sum, each) => sum + Number(each), 0);
      processes.set(id, { parent: fields[1], ticks });
    } catch {
      // it has ended
    }
  }
  const belongs = (id) => id === root || (processes.has(id) && belongs(processes.get(id).parent));
  return [...processes].filter(([id]) => belongs(id)).reduce((sum, [, { ticks }]) => sum + ticks, 0) / TICKS;
}

/** The browser's own process, whose profile is this folder. */
const findBrowser = (profile) =>
  readdirSync("/proc").find((id) => {
    try {
      const argv = readFileSync(`/proc/${id}/cmdline`, "utf-8").split("\0");
      return argv.includes(`--user-data-dir=${profile}`) && !argv.some((each) => each.startsWith("--type="));
    } catch {
      return false;
    }
  });

async function visit(context, root, url) {
  const page = await context.newPage();
  const [began, used] = [performance.now(), processorTime(root)];
  await page.goto(url);
  await page.waitForFunction(() => /^Ready/.test(document.getElementById("status").textContent), null, {
    timeout: 180_000,
  });
  const found = { seconds: (performance.now() - began) / 1000, processor: processorTime(root) - used };
  await page.waitForTimeout(SETTLE);
  await page.close();
  return found;
}

/** The bytes of the files of a first visit, by their paths. */
async function listFiles(url) {
  const proxy = await new FaultyProxy(url).open();
  const browser = await chromium.launch({ executablePath: which("chromium"), args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage();
  await page.goto(proxy.url);
  await waitForStatus(page, /^Ready/);
  await browser.close();
  proxy.server.closeAllConnections();
  proxy.server.close();
  return proxy.sizes;
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1];

const servers = Object.fromEntries(positionals.map((each) => each.split(/=(.*)/s)));
let started;
if (!positionals.length) {
  started = await serve(["--model", values.model]);
  servers.page = started.url;
}
const found = {};
for (let round = 0; round < Number(values.rounds); round++) {
  for (const [name, url] of Object.entries(servers)) {
    const profile = mkdtempSync(join(tmpdir(), "chromium-")); // the cache of a private window would be too small
    const options = { executablePath: which("chromium"), args: ["--no-sandbox", "--disable-gpu"] };
    const context = await chromium.launchPersistentContext(profile, options);
    const root = findBrowser(profile);
    for (let i = 0; i < Number(values.visits); i++) {
      ((found[name] ??= [])[i] ??= []).push(await visit(context, root, url));
    }
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
}
for (const [name, visits] of Object.entries(found)) {
  visits.forEach((each, i) => {
    const line = ["seconds", "processor"].map((key) => median(each.map((one) => one[key])).toFixed(2));
    const all = each.map(({ seconds }) => seconds.toFixed(2)).join(" ");
    console.log(`${name}, visit ${i + 1}: ${line[0]} s, processor ${line[1]} s (${all})`);
  });
  const sizes = Object.entries(await listFiles(servers[name])).toSorted(([, a], [, b]) => b - a);
  for (const [path, bytes] of sizes.filter(([, bytes]) => bytes > 1e5)) {
    console.log(`  ${(bytes / 1e6).toFixed(2)} MB ${path}`);
  }
  console.log(`  ${(sizes.reduce((sum, [, bytes]) => sum + bytes, 0) / 1e6).toFixed(2)} MB in all`);
  if (values.json) {
    const seconds = visits.map((each) => each.map((one) => one.seconds));
    save(values.json, {}, { startup: { model: values.model, seconds } });
  }
}
console.log(`load ${loadavg().map((each) => each.toFixed(1)).join(" ")}`);
started?.child.kill();

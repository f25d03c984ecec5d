// The engines that the tests drive: each opens pages with `goto(url)`, `evaluate(function, value)` and `close()`.
// Chromium is driven by Playwright, Firefox by WebDriver BiDi, and WebKitGTK's MiniBrowser by WebDriver. The last gets
// further environment variables.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { BROWSER_MODULES } = process.env;
const require = createRequire(`${BROWSER_MODULES}/`);
const SCRIPT_LIMIT = 300_000; // milliseconds

export const which = (name) => execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf-8" }).trim();

// A script that calls a function with JSON and returns JSON, because the drivers serialize values differently.
const wrap = (run) => `async (json) => JSON.stringify((await (${run})(JSON.parse(json))) ?? null)`;
const decode = (json) => JSON.parse(json);
const encode = (value) => JSON.stringify(value ?? null);

async function openChromium() {
  const { chromium } = require("playwright-core");
  const browser = await chromium.launch({ executablePath: which("chromium"), args: ["--no-sandbox", "--disable-gpu"] });
  return {
    async page() {
      const page = await (await browser.newContext()).newPage();
      return {
        goto: (url) => page.goto(url),
        evaluate: (run, value) => page.evaluate(run, value ?? null),
        close: () => page.context().close(),
      };
    },
    close: () => browser.close(),
  };
}

async function openFirefox() {
  const WebSocket = require("ws");
  const profile = mkdtempSync(join(tmpdir(), "firefox-"));
  const argv = ["--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile];
  const child = spawn("firefox-esr", argv, { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((done) => child.on("exit", done));
  const address = await new Promise((done, fail) => {
    let text = "";
    child.stderr.on("data", (some) => {
      const [, found] = /WebDriver BiDi listening on (ws:\S+)/.exec((text += some)) ?? [];
      if (found) done(found);
    });
    child.on("exit", () => fail(new Error(`Firefox ended: ${text}`)));
  });
  const socket = new WebSocket(`${address}/session`);
  await new Promise((done, fail) => socket.on("open", done).on("error", fail));
  const calls = new Map();
  socket.on("message", (text) => {
    const { id, result, error, message } = JSON.parse(text);
    if (error) calls.get(id)?.reject(new Error(`${error}: ${message}`));
    else calls.get(id)?.resolve(result);
  });
  const send = (method, params = {}) =>
    new Promise((resolve, reject) => {
      const id = calls.size + 1;
      calls.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, method, params }));
    });
  await send("session.new", { capabilities: {} });
  return {
    async page() {
      const { userContext } = await send("browser.createUserContext");
      const { context } = await send("browsingContext.create", { type: "tab", userContext });
      return {
        goto: (url) => send("browsingContext.navigate", { context, url, wait: "complete" }),
        async evaluate(run, value) {
          const { result, exceptionDetails } = await send("script.callFunction", {
            functionDeclaration: wrap(run),
            arguments: [{ type: "string", value: encode(value) }],
            target: { context },
            awaitPromise: true,
          });
          if (exceptionDetails) throw new Error(exceptionDetails.text);
          return decode(result.value);
        },
        close: () => send("browser.removeUserContext", { userContext }),
      };
    },
    async close() {
      await send("browser.close");
      socket.close();
      await ended;
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// Debian keeps it in /usr/lib/<architecture>/webkit2gtk-<version>, which is not on the path.
function findMiniBrowser() {
  const folders = readdirSync("/usr/lib").flatMap((name) =>
    ["4.1", "4.0"].map((version) => `/usr/lib/${name}/webkit2gtk-${version}/MiniBrowser`),
  );
  const found = folders.find(existsSync);
  if (!found) throw new Error("there is no MiniBrowser below /usr/lib; install webkit2gtk-driver");
  return found;
}

async function openWebKit(variables) {
  const port = await freePort();
  const options = { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...variables } };
  const child = spawn("WebKitWebDriver", [`--port=${port}`], options);
  const ended = new Promise((done) => child.on("exit", done));
  async function call(method, path, body) {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new Error(`${value.error}: ${value.message}`);
    return value;
  }
  for (let tries = 0; ; tries++) {
    try {
      await call("GET", "/status");
      break;
    } catch (error) {
      if (tries === 100) throw error;
      await new Promise((done) => setTimeout(done, 100));
    }
  }
  const sessions = new Set();
  const end = async (session) => sessions.delete(session) && (await call("DELETE", session));
  return {
    // each page has a session with a new profile
    async page() {
      const options = { binary: findMiniBrowser(), args: ["--automation"] };
      const capabilities = { alwaysMatch: { "webkitgtk:browserOptions": options } };
      const { sessionId } = await call("POST", "/session", { capabilities });
      const session = `/session/${sessionId}`;
      sessions.add(session);
      await call("POST", `${session}/timeouts`, { script: SCRIPT_LIMIT });
      return {
        goto: (url) => call("POST", `${session}/url`, { url }),
        async evaluate(run, value) {
          const script = `const [json, done] = arguments;
            (${wrap(run)})(json).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
          const found = await call("POST", `${session}/execute/async`, { script, args: [encode(value)] });
          if (found.error) throw new Error(found.error);
          return decode(found.value);
        },
        close: () => end(session),
      };
    },
    async close() {
      for (const session of sessions) await end(session); // otherwise MiniBrowser stays
      child.kill();
      await ended;
    },
  };
}

export const openEngine = { chromium: openChromium, "no-jspi": openChromium, firefox: openFirefox, webkit: openWebKit };

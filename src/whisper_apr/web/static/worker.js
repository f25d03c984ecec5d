// The worker: Python by Pyodide, one model, one transcription at a time. It speaks with whisper.js alone.

import { download, forget } from "./download.js";

const BASE_MEMORY = 300e6; // bytes: Pyodide, NumPy, and one window's activations in a small model
const IOS_LIMIT = 1e9; // Safari on iOS ends a page at about this size
const WASM_LIMIT = 3.8e9; // what WebAssembly with 32-bit addresses can hold, of 4 GiB
const PAUSE = 40; // milliseconds between two looks at the messages that wait

let python, session;
let controller; // of the transfer
let cancelled = false;

const post = (message) => self.postMessage(message);

function limit() {
  const agent = navigator.userAgent;
  const isIOS = /iPhone|iPad|iPod/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1);
  return isIOS ? IOS_LIMIT : WASM_LIMIT;
}

function checkSize(total) {
  const needed = 1.1 * total + BASE_MEMORY;
  if (needed <= limit()) return;
  const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  throw new Error(
    `the model of ${megabytes(total)} needs about ${megabytes(needed)} of memory, and this browser gives a page ` +
      `${megabytes(limit())}; take a smaller size, or one converted to int8`,
  );
}

async function boot({ pyodide, numpy, wheel }) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", pyodide).href);
  python = await loadPyodide({ indexURL: pyodide });
  for (const [name, place] of [["numpy", numpy ?? "numpy"], ["whisper_apr", wheel]]) {
    await python.loadPackage(place, { checkIntegrity: false, messageCallback() {}, errorCallback() {} });
    if (!Object.keys(python.loadedPackages).some((found) => found.replaceAll("-", "_") === name)) {
      throw new Error(`Pyodide could not load ${name} from ${place}`);
    }
  }
}

// ---- the model -----------------------------------------------------------------------------------------------------

function newSession(url) {
  session?.destroy();
  const Session = python.pyimport("whisper_apr.web.session").Session;
  session = Session(url);
  Session.destroy();
}

function feed(piece) {
  const bytes = session.buffer;
  const buffer = bytes.getBuffer("u8"); // anew each time: where memory has grown, an older view is dead
  try {
    buffer.data.set(piece);
  } finally {
    buffer.release();
    bytes.destroy();
  }
  try {
    session.feed(piece.length);
  } catch (error) {
    throw Object.assign(error, { isDamage: true });
  }
}

async function fetchModel(url) {
  controller = new AbortController();
  let total = 0;
  let loaded = 0;
  const run = () =>
    download(url, {
      signal: controller.signal,
      begin(size) {
        checkSize(size);
        total = size;
        loaded = 0;
        newSession(url);
      },
      take(piece) {
        feed(piece);
        loaded += piece.length;
        post({ type: "progress", stage: "model", loaded, total });
      },
    });
  try {
    await run();
  } catch (error) {
    if (!error.isDamage) throw error;
    await forget(url);
    try {
      await run(); // it may have been damaged on its way, or where it was stored: once more, from the server alone
    } catch (again) {
      if (again.isDamage) await forget(url);
      throw again;
    }
  }
}

async function load({ url, pyodide, numpy, wheel }) {
  post({ type: "progress", stage: "engine", loaded: 0, total: 1 });
  await boot({ pyodide, numpy, wheel });
  post({ type: "progress", stage: "engine", loaded: 1, total: 1 });
  await fetchModel(url);
  return { ...taken(session.open()), canPause: canPause() };
}

// ---- a transcription -----------------------------------------------------------------------------------------------

const plain = (proxy) => proxy.toJs({ dict_converter: Object.fromEntries });

function taken(proxy) {
  const value = plain(proxy);
  proxy.destroy();
  return value;
}

const canPause = () => python.runPython("from pyodide.ffi import can_run_sync; can_run_sync()");

// Where the engine can be put aside for a moment (JavaScript Promise Integration), messages are let in between two tokens.
async function letMessagesIn() {
  const channel = new MessageChannel();
  await new Promise((done) => {
    channel.port1.onmessage = done;
    channel.port2.postMessage(null);
  });
}

async function transcribe({ samples, options }) {
  cancelled = false;
  let looked = performance.now();
  const run = python.runPython(`
from pyodide.ffi import can_run_sync, run_sync

def _run(session, samples, options, on_segment, on_progress, is_due, let_in, is_cancelled):
    def ask():
        if is_due() and can_run_sync():
            run_sync(let_in())
        return is_cancelled()

    return session.transcribe(samples.to_py(), options.to_py(), on_segment, on_progress, ask)

_run
`);
  try {
    const result = await run.callPromising(
      session,
      samples,
      options,
      (segment) => post({ type: "segment", segment: plain(segment) }),
      (done, total) => post({ type: "progress", stage: "audio", loaded: done, total }),
      () => performance.now() - looked > PAUSE,
      async () => {
        await letMessagesIn();
        looked = performance.now();
      },
      () => cancelled,
    );
    return taken(result);
  } finally {
    run.destroy();
  }
}

// ---- messages ------------------------------------------------------------------------------------------------------

function describe(error) {
  // a Python traceback's last line: "whisper_apr.errors.FormatError: what is wrong"
  const lines = String(error?.message ?? error).trim().split("\n");
  const [, kind, message] = /^(?:[\w.]*\.)?(\w+): (.*)$/.exec(lines.at(-1)) ?? [, error?.name ?? "Error", lines.at(-1)];
  return { kind: kind === "Cancelled" ? "AbortError" : kind, message };
}

const ACTIONS = {
  load,
  transcribe,
  write: ({ format }) => session.write(format),
};

self.onmessage = async ({ data: { id, type, ...rest } }) => {
  if (type === "cancel") {
    cancelled = true;
    controller?.abort();
    return;
  }
  try {
    post({ type: "done", id, value: await ACTIONS[type](rest) });
  } catch (error) {
    post({ type: "failed", id, error: describe(error) });
  }
};

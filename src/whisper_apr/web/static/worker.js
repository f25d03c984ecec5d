// The web worker behind whisper.js: it runs Python with Pyodide, and has one model and one transcription at a time.

import { download, forget } from "./download.js";

const BASE_MEMORY = 300e6; // bytes: Pyodide, NumPy, and the activations of one window in a small model
const IOS_LIMIT = 1e9; // bytes, at which Safari on iOS ends a page, approximately
const WASM_LIMIT = 3.8e9; // bytes; WebAssembly's 32-bit addresses reach 4 GiB
const PAUSE = 40; // milliseconds between two checks for messages, such as "cancel"

let python, session;
let controller; // AbortController of the download
let cancelled = false;

const post = (message) => self.postMessage(message);

// Bytes of memory that a page may use in this browser.
function memoryLimit() {
  const agent = navigator.userAgent;
  const isIOS = /iPhone|iPad|iPod/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1);
  return isIOS ? IOS_LIMIT : WASM_LIMIT;
}

function checkSize(total) {
  const needed = 1.1 * total + BASE_MEMORY;
  if (needed <= memoryLimit()) return;
  const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
  throw new Error(
    `the model of ${megabytes(total)} needs about ${megabytes(needed)} of memory, but a page in this browser can ` +
      `use only ${megabytes(memoryLimit())}; choose a smaller model, or convert it to int8`,
  );
}

// Load Pyodide, NumPy and whisper_apr.
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

// ---- model ---------------------------------------------------------------------------------------------------------

function newSession(url) {
  session?.destroy();
  const Session = python.pyimport("whisper_apr.web.session").Session;
  session = Session(url);
  Session.destroy();
}

// Give a piece of the model's file to Python; errors are marked with `isDamaged`.
function feed(piece) {
  const bytes = session.buffer;
  const buffer = bytes.getBuffer("u8"); // not kept, because a view becomes invalid when memory grows
  try {
    buffer.data.set(piece);
  } finally {
    buffer.release();
    bytes.destroy();
  }
  try {
    session.feed(piece.length);
  } catch (error) {
    throw Object.assign(error, { isDamaged: true });
  }
}

// Download the model, and give each piece to Python as it arrives.
async function fetchModel(url) {
  controller = new AbortController();
  let total = 0;
  let loaded = 0;
  const run = () =>
    download(url, {
      signal: controller.signal,
      start(size) {
        checkSize(size);
        total = size;
        loaded = 0;
        newSession(url);
      },
      write(piece) {
        feed(piece);
        loaded += piece.length;
        post({ type: "progress", stage: "model", loaded, total });
      },
    });
  try {
    await run();
  } catch (error) {
    if (!error.isDamaged) throw error;
    await forget(url);
    try {
      await run(); // retry once without the cache: the transfer or the stored copy may be damaged
    } catch (again) {
      if (again.isDamaged) await forget(url);
      throw again;
    }
  }
}

async function load({ url, pyodide, numpy, wheel }) {
  post({ type: "progress", stage: "engine", loaded: 0, total: 1 });
  await boot({ pyodide, numpy, wheel });
  post({ type: "progress", stage: "engine", loaded: 1, total: 1 });
  await fetchModel(url);
  return { ...consume(session.open()), canPause: canPause() };
}

// ---- transcription -------------------------------------------------------------------------------------------------

const toObject = (proxy) => proxy.toJs({ dict_converter: Object.fromEntries });

// Copy a Python value, and free it.
function consume(proxy) {
  const value = toObject(proxy);
  proxy.destroy();
  return value;
}

// Whether Python can wait for a promise (JavaScript Promise Integration), so that messages arrive between two tokens.
const canPause = () => python.runPython("from pyodide.ffi import can_run_sync; can_run_sync()");

// Return to the event loop once, so that messages that have arrived are handled.
async function handleMessages() {
  const channel = new MessageChannel();
  await new Promise((done) => {
    channel.port1.onmessage = done;
    channel.port2.postMessage(null);
  });
}

// Transcribe, and post the segments and the progress.
async function transcribe({ samples, options }) {
  cancelled = false;
  let lastCheck = performance.now();
  const run = python.runPython(`
from pyodide.ffi import can_run_sync, run_sync

def _run(session, samples, options, on_segment, on_progress, is_due, handle_messages, is_cancelled):
    def check():
        if is_due() and can_run_sync():
            run_sync(handle_messages())
        return is_cancelled()

    return session.transcribe(samples.to_py(), options.to_py(), on_segment, on_progress, check)

_run
`);
  try {
    const result = await run.callPromising(
      session,
      samples,
      options,
      (segment) => post({ type: "segment", segment: toObject(segment) }),
      (done, total) => post({ type: "progress", stage: "audio", loaded: done, total }),
      () => performance.now() - lastCheck > PAUSE,
      async () => {
        await handleMessages();
        lastCheck = performance.now();
      },
      () => cancelled,
    );
    return consume(result);
  } finally {
    run.destroy();
  }
}

// ---- messages ------------------------------------------------------------------------------------------------------

// The name and the message of an error. A Python error's text ends with a line such as
// "whisper_apr.errors.FormatError: model.apr is damaged".
function describe(error) {
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

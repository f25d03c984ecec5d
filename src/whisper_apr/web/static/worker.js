// The web worker behind whisper.js: it runs Python with Pyodide, and has one model and one transcription at a time.

import { download, forget } from "./download.js";
import { BACKEND, hasRelaxedSimd } from "./relaxed_simd.js";
import { startPython } from "./startup.js";
import { countThreads, shareMemory, startThreads } from "./threads.js";

const BASE_MEMORY = 300e6; // bytes: Pyodide, NumPy, and the activations of one window in a small model
const IOS_LIMIT = 1e9; // bytes, at which Safari on iOS ends a page, approximately
const WASM_LIMIT = 3.8e9; // bytes; WebAssembly's 32-bit addresses reach 4 GiB
const MAX_WEIGHTS = 64e6; // bytes of the file by which speakers are told apart, which has 16 MB
const PAUSE = 40; // milliseconds between two checks for messages, such as "cancel"

let python, session;
let hasSpeakers = false; // whether the session has the weights that tell speakers apart
let keep; // stores Python's snapshot
let kept; // a promise that it is stored
let unshare; // ends the sharing of memory
let threadWorkers = [];
let controller; // AbortController of the download
let cancelled = false;
let lastCheck = 0; // time at which messages were last handled
let canPause; // whether Python can wait for a promise, so that messages arrive between two tokens

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
  checked(() => session.feed(piece.length));
}

// Call a function of Python's; an error about the file's content is marked with `isDamaged`.
function checked(call) {
  try {
    return call();
  } catch (error) {
    throw Object.assign(error, { isDamaged: error.type === "FormatError" }); // not if the memory is full
  }
}

/**
 * Download a file, from the cache what is there, and return what `finish()` returns. `begin(total)` is called first,
 * and again if the file changes, `check(bytes)` with its size as far as it is known, and `take(piece)` with each piece.
 */
async function fetchFile(url, timeout, { begin, check, take, finish }) {
  controller = new AbortController();
  const { signal } = controller;
  let total = null;
  let loaded = 0;
  const run = async () => {
    await download(url, {
      signal,
      timeout,
      start(size) {
        check(size ?? 0);
        total = size;
        loaded = 0;
        begin(size);
      },
      write(piece) {
        take(piece);
        loaded += piece.length;
        if (total === null || loaded > total) {
          total = null; // unknown, because the server compresses the file
          check(loaded);
        }
        post({ type: "download", loaded, total });
      },
    });
    signal.throwIfAborted();
    return checked(finish);
  };
  try {
    return await run();
  } catch (error) {
    if (!error.isDamaged) throw error;
    await forget(url, timeout);
    try {
      return await run(); // retry once without the cache: the transfer or the stored copy may be damaged
    } catch (again) {
      if (again.isDamaged) await forget(url, timeout);
      throw again;
    }
  }
}

// Download the model, give each piece to Python as it arrives, and open it. Returns what `Session.open` returns.
const loadModel = (url, timeout) =>
  fetchFile(url, timeout, {
    begin: () => newSession(url),
    check: checkSize,
    take: feed,
    finish: () => consume(session.open()),
  });

// Download these weights, unless they are there.
async function loadSpeakers({ url, timeout }) {
  if (hasSpeakers) return;
  let pieces;
  const check = (size) => {
    if (size <= MAX_WEIGHTS) return;
    throw new Error(`${url}: it has more than ${MAX_WEIGHTS / 1e6} MB; name a wheel of whisper-apr-speakers`);
  };
  await fetchFile(url, timeout, {
    begin: () => (pieces = []),
    check,
    take: (piece) => pieces.push(piece.slice()), // which is valid until the next one
    finish() {
      const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
      pieces.reduce((at, piece) => (bytes.set(piece, at), at + piece.length), 0);
      session.load_speakers(bytes, url);
    },
  });
  hasSpeakers = true;
}

const warn = (error) => console.warn(`whisper_apr uses one thread: ${error.message}`);

// Start Python on a memory that can be shared by `n` threads, or if that fails on one of its own. Returns how many
// threads can be used.
async function start(places, n) {
  post({ type: "startup", loaded: 0 }); // the page waits for a message, and the storage may not answer
  const begin = () => startPython(places, (loaded) => post({ type: "startup", loaded }));
  unshare = n > 1 ? shareMemory() : undefined;
  let started;
  try {
    started = await begin();
  } catch (error) {
    if (!unshare || error.isTransfer) throw error;
    warn(error);
    unshare();
    started = await begin();
    n = 1;
  }
  python = started.python;
  keep = started.keep;
  return n;
}

// Start the kernels' threads; return how many are used. The engine works without them, too.
async function addThreads(n, timeout) {
  if (n > 1) {
    try {
      threadWorkers = await startThreads(python, n, timeout);
      return n;
    } catch (error) {
      warn(error);
    }
  }
  return 1;
}

// Start Python and the kernels' threads, and load the model.
async function begin(url, places, n) {
  const threads = await addThreads(await start(places, n), places.timeout);
  return { ...(await loadModel(url, places.timeout)), threads };
}

async function load({ url, pyodide, numpy, wheel, timeout, fast, threads }) {
  const places = { pyodide, numpy, wheel, timeout, fast: fast && hasRelaxedSimd() };
  const n = countThreads(threads);
  let about;
  try {
    about = await begin(url, places, n);
  } catch (error) {
    if (n === 1 || error.type !== "MemoryError") throw error;
    warn(new Error("there is not enough shared memory")); // of which there may be less than of a thread's own
    for (const worker of threadWorkers) worker.terminate();
    unshare();
    session = undefined; // it was Python's that is given up
    about = await begin(url, places, 1);
  } finally {
    kept = keep?.(); // not earlier, because it takes time that the model is waited for
  }
  canPause = await findCanPause();
  const backend = python.runPython("from whisper_apr import simd; simd.backend()");
  return { ...about, canPause, fast: backend === BACKEND };
}

// ---- recordings ----------------------------------------------------------------------------------------------------

let recording; // the whisper_apr.web.recording.DecodedRecording that is being converted

const withSamples = ([samples, warnings]) => ({ samples, warnings });

// Read a file whose samples need no decoder. Returns null for any other.
function readPlain({ name, blob }) {
  const module = python.pyimport("whisper_apr.web.recording");
  const reader = new FileReaderSync();
  const file = module.BlobFile(name, blob.size, (begin, end) => reader.readAsArrayBuffer(blob.slice(begin, end)));
  try {
    const found = module.read_blob(file);
    return found ? withSamples(consume(found)) : null;
  } finally {
    file.destroy();
    module.destroy();
  }
}

function decodeStart({ name, rate }) {
  recording?.destroy();
  const module = python.pyimport("whisper_apr.web.recording");
  recording = module.DecodedRecording(name, rate);
  module.destroy();
}

function decodePush({ channels }) {
  const arrays = python.toPy(channels);
  recording.push(arrays);
  arrays.destroy();
}

function decodeFinish() {
  const found = withSamples(consume(recording.finish()));
  recording.destroy();
  recording = undefined;
  return found;
}

// ---- transcription -------------------------------------------------------------------------------------------------

const toObject = (proxy) => proxy.toJs({ dict_converter: Object.fromEntries });

// Copy a Python value, and free it.
function consume(proxy) {
  const value = toObject(proxy);
  proxy.destroy();
  return value;
}

// Whether the browser has JavaScript Promise Integration. `can_run_sync` tells only about the call that it is made in.
async function findCanPause() {
  const canRunSync = python.pyimport("pyodide.ffi.can_run_sync");
  try {
    return await canRunSync.callPromising();
  } catch {
    return false;
  } finally {
    canRunSync.destroy();
  }
}

// Return to the event loop once, so that messages that have arrived are handled.
async function handleMessages() {
  const channel = new MessageChannel();
  await new Promise((done) => {
    channel.port1.onmessage = done;
    channel.port2.postMessage(null);
  });
  lastCheck = performance.now();
}

const isDue = () => canPause && performance.now() - lastCheck > PAUSE;

// Call a method of the session whose last argument tells whether to cancel. Where Python cannot pause, no message
// arrives until it is done.
async function callSession(name, ...values) {
  cancelled = false;
  if (!canPause) await kept; // nothing else happens while Python runs, and to cancel is to start again
  lastCheck = performance.now();
  const method = session[name];
  const run = python.runPython(`
from pyodide.ffi import JsProxy, run_sync

def _run(method, is_due, handle_messages, is_cancelled, *values):
    def check():
        if is_due():
            run_sync(handle_messages())
        return is_cancelled()

    return method(*(value.to_py() if isinstance(value, JsProxy) else value for value in values), check)

_run
`);
  const all = [method, isDue, handleMessages, () => cancelled, ...values];
  try {
    return consume(await (canPause ? run.callPromising(...all) : run(...all)));
  } finally {
    run.destroy();
    method.destroy();
  }
}

// Transcribe, and post the segments and the progress. `speakers` names the weights that tell speakers apart, if these
// are needed.
async function transcribe({ samples, options, speakers }) {
  if (speakers) await loadSpeakers(speakers);
  return callSession(
    "transcribe",
    samples,
    options,
    (segment) => post({ type: "segment", segment: toObject(segment) }),
    (done, total) => post({ type: "transcription", done, total }),
    (done, total) => post({ type: "speakers", done, total }),
  );
}

function liveStart({ options }) {
  const given = python.toPy(options);
  try {
    session.start_live(given);
  } finally {
    given.destroy();
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
  readPlain,
  decodeStart,
  decodePush,
  decodeFinish,
  transcribe,
  liveStart,
  livePush: ({ samples }) => callSession("push_live", samples),
  liveFinish: () => callSession("finish_live"),
  write: ({ format, transcription }) => session.write(format, transcription && python.toPy(transcription)),
};

self.onmessage = async ({ data: { id, type, ...rest } }) => {
  if (type === "cancel") {
    cancelled = true;
    controller?.abort();
    return;
  }
  try {
    const value = await ACTIONS[type](rest);
    self.postMessage({ type: "done", id, value }, value?.samples ? [value.samples.buffer] : []);
  } catch (error) {
    post({ type: "failed", id, error: describe(error) });
  }
};

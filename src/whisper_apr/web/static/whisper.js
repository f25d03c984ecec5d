// Whisper in a web page: a class that runs the engine in a web worker. whisper.d.ts documents its types.

import { decodeRecording } from "./decode.js";
import { TIMEOUT } from "./download.js";
import { WhisperError } from "./errors.js";
import { LiveTranscription } from "./live.js";
import { WHEEL } from "./packaged.js";
import { Queue } from "./queue.js";

export { decodeAudio } from "./decode.js";
export { WhisperError } from "./errors.js";

const HERE = import.meta.url;
const PYODIDE = "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/";
const MAX_THREADS = 64;
const MAX_DEFAULT_THREADS = 4; // more gain little, because other tabs need cores, too

const defaultThreads = () => Math.min(MAX_DEFAULT_THREADS, navigator.hardwareConcurrency ?? 1);

const absolute = (url, base) => (url === undefined ? undefined : new URL(url, base).href);

/**
 * Return the URL of a model, for a URL relative to the page, or for a name: `hub` is a folder whose files are NAME.apr.
 */
function modelURL(model, hub) {
  if (model === undefined) return undefined;
  const isName = hub !== undefined && /^[\w-][\w.-]*$/.test(model) && !model.endsWith(".apr");
  const folder = isName && absolute(hub.endsWith("/") ? hub : `${hub}/`, document.baseURI);
  return isName ? absolute(`${model}.apr`, folder) : absolute(model, document.baseURI);
}

const isForeign = (url) => /^https?:/.test(url) && new URL(url).origin !== location.origin;

// Start the worker, from the file beside this module unless another place is given.
function startWorker(given) {
  // bundlers recognize this expression, and bundle the worker
  if (!given && !isForeign(HERE)) return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  const place = given ?? new URL("worker.js", HERE).href;
  if (!isForeign(place)) return new Worker(place, { type: "module" });
  // a worker's script must be of the page's origin, but may import modules of another one
  const script = new Blob([`import ${JSON.stringify(place)};`], { type: "text/javascript" });
  return new Worker(URL.createObjectURL(script), { type: "module" });
}

// Options for Python: the names that JavaScript gives to some of them are translated.
function toPython({ wordTimestamps, initialPrompt, ...options }) {
  const all = { ...options, word_timestamps: wordTimestamps, initial_prompt: initialPrompt };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

// Read settings.json beside this module: the options that `load` was not given. The npm package has no such file.
async function readSettings(signal, timeout) {
  if (WHEEL) {
    const message = "load() needs the option model: the URL of an .apr file, or with the option hub a model's name";
    throw new WhisperError({ kind: "OptionError", message });
  }
  const place = new URL("settings.json", HERE);
  const limits = [signal, AbortSignal.timeout(timeout)].filter(Boolean);
  const response = await fetch(place, { signal: AbortSignal.any(limits) }).catch((error) => {
    if (signal?.aborted) throw signal.reason;
    throw new WhisperError({ kind: "Error", message: `${place}: it could not be loaded (${error.message})` });
  });
  if (!response.ok) {
    const message = `load() needs the options model and wheel, because ${place} does not exist`;
    throw new WhisperError({ kind: "OptionError", message });
  }
  return Object.fromEntries(Object.entries(await response.json()).map(([name, url]) => [name, absolute(url, place)]));
}

// Whether an option's value asks to find the speakers. Turns, which are an array, need no weights.
function findsSpeakers(value) {
  if (value === undefined || value === null || value === false || Array.isArray(value)) return false;
  if (value === true || Number.isInteger(value)) return true;
  const message = `speakers must be true, a number of speakers, or turns, not ${value}`;
  throw new WhisperError({ kind: "OptionError", message });
}

export class Whisper {
  #worker = null;
  #settings;
  #calls = new Map();
  #next = 0;
  #loadListeners; // of the first loading; also used when the worker is loaded again
  #listeners = {}; // of the current call
  #restarting = null; // a promise, while a worker is started in the background
  #busy = Promise.resolve();
  #about;

  constructor(settings, loadListeners) {
    this.#settings = settings;
    this.#loadListeners = loadListeners;
  }

  /** Start Python, download the model (or take it from Cache Storage), and open it. */
  static async load({ onStartup, onDownload, signal, timeout = TIMEOUT, ...given } = {}) {
    const { threads = defaultThreads(), fast = false } = given;
    if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
      const message = `threads must be an integer from 1 to ${MAX_THREADS}, not ${threads}`;
      throw new WhisperError({ kind: "OptionError", message });
    }
    const served = (given.wheel ?? WHEEL) && given.model ? {} : await readSettings(signal, timeout);
    const choose = (name, otherwise) => absolute(given[name], document.baseURI) ?? served[name] ?? otherwise;
    const settings = {
      url: modelURL(given.model, given.hub) ?? served.model,
      wheel: choose("wheel", WHEEL),
      numpy: choose("numpy"),
      pyodide: choose("pyodide", PYODIDE),
      worker: choose("worker"),
      speakers: choose("speakers"),
      timeout,
      threads,
      fast: Boolean(fast),
    };
    const whisper = new Whisper(settings, { onStartup, onDownload });
    await whisper.#start(signal);
    return whisper;
  }

  get multilingual() {
    return this.#about.multilingual;
  }

  /** Codes and English names of the model's languages; empty for an English-only model. */
  get languages() {
    return this.#about.languages;
  }

  /** Threads that the engine uses; 1 if the page is not cross-origin isolated. */
  get threads() {
    return this.#about.threads;
  }

  /** Whether the faster kernels that the option `fast` asks for are used; false if the browser lacks relaxed SIMD. */
  get fast() {
    return this.#about.fast;
  }

  /** Whether speakers can be told apart: the option `speakers` of `load` names the weights. */
  get canFindSpeakers() {
    return this.#settings.speakers !== undefined;
  }

  async #start(signal, listeners = this.#loadListeners) {
    const { timeout, worker } = this.#settings;
    const place = worker ?? new URL("worker.js", HERE).href;
    this.#worker = startWorker(worker);
    // the worker's first message shows that its files have arrived; after that it watches its transfers itself
    const silent = `${place}: the worker did not start within ${timeout / 1000} s; check the connection, and try again`;
    const timer = setTimeout(() => this.#fail({ kind: "Error", message: silent }), timeout);
    this.#worker.onmessage = ({ data }) => {
      clearTimeout(timer);
      this.#receive(data);
    };
    this.#worker.onerror = ({ message }) =>
      this.#fail({ kind: "Error", message: message || `${place}: the worker could not be loaded` });
    try {
      this.#about = await this.#call("load", this.#settings, { ...listeners, signal }, () => this.close());
    } catch (error) {
      this.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #receive(data) {
    if (data.type === "startup") {
      this.#listeners.onStartup?.({ loaded: data.loaded });
    } else if (data.type === "download") {
      this.#listeners.onDownload?.({ loaded: data.loaded, total: data.total });
    } else if (data.type === "transcription") {
      this.#listeners.onProgress?.({ done: data.done, total: data.total });
    } else if (data.type === "speakers") {
      this.#listeners.onSpeakers?.({ done: data.done, total: data.total });
    } else if (data.type === "segment") {
      this.#listeners.onSegment?.(data.segment);
    } else {
      const call = this.#calls.get(data.id);
      this.#calls.delete(data.id);
      if (data.type === "done") call?.resolve(data.value);
      else call?.reject(new WhisperError(data.error));
    }
  }

  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(new WhisperError(error));
    this.#calls.clear();
  }

  // Send a request to the worker, and wait for its response. `onAbort` is called when the signal is aborted, after the
  // worker was told to cancel.
  async #call(type, message, { signal, ...listeners } = {}, onAbort, transfer = []) {
    signal?.throwIfAborted();
    if (!this.#worker) throw new WhisperError({ kind: "AbortError", message: "the worker was closed" });
    this.#listeners = listeners;
    const id = this.#next++;
    const abort = () => {
      this.#worker?.postMessage({ type: "cancel" });
      onAbort?.();
    };
    signal?.addEventListener("abort", abort);
    try {
      return await new Promise((resolve, reject) => {
        this.#calls.set(id, { resolve, reject });
        this.#worker.postMessage({ id, type, ...message }, transfer);
      });
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#listeners = {};
    }
  }

  /**
   * Decode a recording to mono samples at 16 kHz: those that Python's `load_audio` returns, up to differences between
   * the decoders of compressed formats. `onWarning(message)` is called for damage in the file.
   */
  decode(source, { signal, onWarning } = {}) {
    return this.#enqueue(() => this.#decode(source, signal, onWarning));
  }

  async #decode(source, signal, onWarning) {
    signal?.throwIfAborted();
    await this.#ready(signal);
    const call = (type, message, transfer) => this.#call(type, message, { signal }, undefined, transfer);
    const { samples, warnings } = await decodeRecording(source, call);
    signal?.throwIfAborted();
    for (const message of warnings) onWarning?.(message);
    return samples;
  }

  /** Transcribe mono samples at 16 kHz, or a file. Calls are queued: one transcription runs at a time. */
  transcribe(source, given = {}) {
    const { onSegment, onProgress, onSpeakers, onDownload, signal, transfer, vad, ...others } = given;
    const vadOptions = vad && { vad_filter: true, vad_parameters: vad === true ? undefined : vad };
    const options = toPython({ ...vadOptions, ...others });
    const run = async () => {
      signal?.throwIfAborted();
      const speakers = this.#findWeights(options.speakers);
      let samples = source instanceof Float32Array ? source : await this.#decode(source, signal);
      if (samples === source && !transfer) samples = source.slice();
      if (!samples.length) throw new WhisperError({ kind: "AudioError", message: "the recording is empty" });
      await this.#ready(signal);
      // if messages cannot reach the worker while it transcribes, cancel by terminating it, and start another one
      const end = this.#about.canPause ? undefined : () => this.#restart();
      const listeners = { onSegment, onProgress, onSpeakers, onDownload, signal };
      return this.#call("transcribe", { samples, options, speakers }, listeners, end, [samples.buffer]);
    };
    return this.#enqueue(run);
  }

  // Return where the weights are that the option `speakers` needs, undefined if it needs none.
  #findWeights(value) {
    if (!findsSpeakers(value)) return undefined;
    const { speakers: url, timeout } = this.#settings;
    if (url) return { url, timeout };
    const message = "to tell speakers apart, load() needs the option speakers: the URL of whisper-apr-speakers' wheel";
    throw new WhisperError({ kind: "OptionError", message });
  }

  /**
   * Transcribe, and iterate over the segments as they become final. The transcription begins with the iteration, and is
   * cancelled if the iteration is left early.
   */
  async *segments(source, { signal, onSegment, ...options } = {}) {
    const left = new AbortController();
    const found = new Queue();
    const work = this.transcribe(source, {
      ...options,
      signal: AbortSignal.any([left.signal, signal].filter(Boolean)),
      onSegment(segment) {
        onSegment?.(segment);
        found.push(segment);
      },
    }).then(
      () => found.end(),
      (error) => found.end(error),
    );
    try {
      yield* found;
    } finally {
      left.abort();
      await work;
    }
  }

  /** Transcribe sound while it arrives. Returns an async iterable of texts, with a method `stop`. */
  live(source, { signal, vad, ...others } = {}) {
    const options = toPython({ vad_options: vad, ...others });
    const run = (limits, body) =>
      this.#enqueue(async () => {
        limits.throwIfAborted();
        await this.#ready(limits);
        return body((type, message, transfer) => this.#call(type, message, { signal: limits }, undefined, transfer));
      });
    return new LiveTranscription(source, options, signal, run);
  }

  /**
   * Return a transcription, by default the last one, as the text of a file: txt, srt, vtt, tsv, json, csv, lrc, md,
   * ass, rttm or textgrid.
   */
  write(format, transcription) {
    return this.#enqueue(async () => {
      if (!this.#worker && !transcription) {
        const message = "nothing has been transcribed yet; call transcribe() first";
        throw new WhisperError({ kind: "Error", message });
      }
      await this.#ready();
      return this.#call("write", { format, transcription });
    });
  }

  #enqueue(run) {
    const result = this.#busy.then(run);
    this.#busy = result.catch(() => {});
    return result;
  }

  // Wait for the worker, or start it.
  async #ready(signal) {
    if (!this.#restarting) return this.#worker ? undefined : this.#start(signal);
    this.#listeners = this.#loadListeners;
    const aborted = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    await Promise.race([this.#restarting, aborted]);
    if (!this.#worker) await this.#start(signal);
  }

  #restart() {
    this.#end();
    const restarting = this.#start(undefined, {})
      .catch(() => {}) // the next transcription starts it again, and reports the error
      .finally(() => {
        if (this.#restarting === restarting) this.#restarting = null;
      });
    this.#restarting = restarting;
  }

  #end() {
    if (this.#worker) {
      // an error that Python reports while it is terminated must not fail the loading of the next worker
      Object.assign(this.#worker, { onmessage: null, onerror: null });
      this.#worker.terminate();
    }
    this.#worker = null;
    this.#fail({ kind: "AbortError", message: "cancelled" });
  }

  /**
   * Terminate the worker and free its memory. A running transcription ends with an AbortError; the next one loads the
   * model again, from the cache.
   */
  close() {
    this.#end();
  }
}

// Whisper in a web page: a class that runs the engine in a web worker. whisper.d.ts documents its types.

const RATE = 16000; // Hz, the models' sampling rate
const PYODIDE = "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/";

export class WhisperError extends Error {
  constructor({ kind, message }) {
    super(message);
    this.name = kind;
  }
}

/** Decode a recording (a File, a Blob or an ArrayBuffer) to mono samples at 16 kHz, with the browser's decoders. */
export async function decodeAudio(source) {
  const bytes = source instanceof Blob ? await source.arrayBuffer() : source.slice(0);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
  } catch {
    throw new WhisperError({
      kind: "AudioError",
      message: `${source.name ?? "the recording"}: this browser cannot decode it; use WAV, MP3, M4A, OGG or FLAC`,
    });
  }
  const samples = sound.getChannelData(0).slice();
  for (let channel = 1; channel < sound.numberOfChannels; channel++) {
    const other = sound.getChannelData(channel);
    for (let i = 0; i < samples.length; i++) samples[i] += other[i];
  }
  if (sound.numberOfChannels > 1) for (let i = 0; i < samples.length; i++) samples[i] /= sound.numberOfChannels;
  return samples;
}

const absolute = (url, base) => (url === undefined ? undefined : new URL(url, base).href);

// Read settings.json beside this module: the options that `load` was not given.
async function readSettings(signal) {
  const place = new URL("settings.json", import.meta.url);
  const response = await fetch(place, { signal });
  if (!response.ok) {
    const message = `load() needs the options model and wheel, because ${place} does not exist`;
    throw new WhisperError({ kind: "OptionError", message });
  }
  return Object.fromEntries(Object.entries(await response.json()).map(([name, url]) => [name, absolute(url, place)]));
}

export class Whisper {
  #worker = null;
  #settings;
  #calls = new Map();
  #next = 0;
  #listeners = {};
  #busy = Promise.resolve();
  #about;

  constructor(settings) {
    this.#settings = settings;
  }

  /** Start Python, download the model (or take it from Cache Storage), and open it. */
  static async load({ onProgress, signal, ...given } = {}) {
    const served = given.wheel && given.model ? {} : await readSettings(signal);
    const choose = (name, otherwise) => absolute(given[name], document.baseURI) ?? served[name] ?? otherwise;
    const [url, wheel, numpy] = ["model", "wheel", "numpy"].map((name) => choose(name));
    const whisper = new Whisper({ url, wheel, numpy, pyodide: choose("pyodide", PYODIDE) });
    await whisper.#start({ onProgress, signal });
    return whisper;
  }

  get multilingual() {
    return this.#about.multilingual;
  }

  /** Codes and English names of the model's languages; empty for an English-only model. */
  get languages() {
    return this.#about.languages;
  }

  async #start({ onProgress, signal } = {}) {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = ({ message = "the worker could not start" }) => this.#fail({ kind: "Error", message });
    try {
      this.#about = await this.#call("load", this.#settings, { onProgress, signal }, () => this.close());
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #receive(data) {
    if (data.type === "progress") {
      const { stage, loaded, total } = data;
      this.#listeners.onProgress?.({ stage, loaded, total });
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
  async #call(type, message, { onProgress, onSegment, signal } = {}, onAbort, transfer = []) {
    signal?.throwIfAborted();
    this.#listeners = { onProgress, onSegment };
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

  /** Transcribe mono samples at 16 kHz, or a file. Calls are queued: one transcription runs at a time. */
  transcribe(source, { onSegment, onProgress, signal, wordTimestamps, initialPrompt, ...options } = {}) {
    const run = async () => {
      signal?.throwIfAborted();
      const samples = source instanceof Float32Array ? source.slice() : await decodeAudio(source);
      if (!samples.length) throw new WhisperError({ kind: "AudioError", message: "the recording is empty" });
      if (!this.#worker) await this.#start({ onProgress, signal });
      const python = Object.fromEntries(
        Object.entries({ ...options, word_timestamps: wordTimestamps, initial_prompt: initialPrompt }).filter(
          ([, value]) => value !== undefined,
        ),
      );
      // if messages cannot reach the worker while it transcribes, cancel by terminating it; it is restarted when needed
      const end = this.#about.canPause ? undefined : () => this.#end();
      const listeners = { onSegment, onProgress, signal };
      return this.#call("transcribe", { samples, options: python }, listeners, end, [samples.buffer]);
    };
    return this.#enqueue(run);
  }

  /** Return the last transcription as the text of a file: txt, srt, vtt, tsv, json, csv, lrc, md or ass. */
  write(format) {
    return this.#enqueue(() => {
      if (!this.#worker) {
        const message = "nothing has been transcribed yet; call transcribe() first";
        throw new WhisperError({ kind: "Error", message });
      }
      return this.#call("write", { format });
    });
  }

  #enqueue(run) {
    const result = this.#busy.then(run);
    this.#busy = result.catch(() => {});
    return result;
  }

  #end() {
    this.#worker?.terminate();
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

// Whisper in a page: a class over the worker. See whisper.d.ts for what it takes and gives.

const RATE = 16000; // Hz: what the models hear
const PYODIDE = "https://cdn.jsdelivr.net/pyodide/v314.0.7/full/";

export class WhisperError extends Error {
  constructor({ kind, message }) {
    super(message);
    this.name = kind;
  }
}

/** A recording (a File, a Blob, an ArrayBuffer) as mono samples at 16 kHz, decoded by the browser. */
export async function decodeAudio(source) {
  const bytes = source instanceof Blob ? await source.arrayBuffer() : source.slice(0);
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
  } catch {
    throw new WhisperError({
      kind: "AudioError",
      message: `${source.name ?? "the recording"}: this browser cannot read it; try WAV, MP3, M4A, OGG or FLAC`,
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

// What lies beside this module: settings.json names the wheel, and what else `load` was not given.
async function settings(signal) {
  const place = new URL("settings.json", import.meta.url);
  const response = await fetch(place, { signal });
  if (!response.ok) throw new WhisperError({ kind: "OptionError", message: `give load() model and wheel: there is no ${place}` });
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

  /** Boot Python, fetch the model (from Cache Storage where it was fetched before), and open it. */
  static async load({ onProgress, signal, ...given } = {}) {
    const served = given.wheel && given.model ? {} : await settings(signal);
    const choose = (name, otherwise) => absolute(given[name], document.baseURI) ?? served[name] ?? otherwise;
    const places = { url: choose("model"), wheel: choose("wheel"), pyodide: choose("pyodide", PYODIDE), numpy: choose("numpy") };
    const whisper = new Whisper(places);
    await whisper.#start({ onProgress, signal });
    return whisper;
  }

  get multilingual() {
    return this.#about.multilingual;
  }

  /** Codes and names, in the model's order; empty for an English-only model. */
  get languages() {
    return this.#about.languages;
  }

  async #start({ onProgress, signal } = {}) {
    this.#worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => this.#fail({ kind: "Error", message: event.message ?? "the worker could not start" });
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

  // One question to the worker; `onAbort` is what to do, besides asking it to stop, when the signal says so.
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

  /** Samples (mono, 16 kHz) or a file -> the transcription. One runs at a time; a second one waits for the first. */
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
      // an engine that cannot be put aside for a moment is ended, and made again when it is needed
      const end = this.#about.canPause ? undefined : () => this.#end();
      const listeners = { onSegment, onProgress, signal };
      return this.#call("transcribe", { samples, options: python }, listeners, end, [samples.buffer]);
    };
    return this.#whenFree(run);
  }

  /** The last transcription as a file's text: txt, srt, vtt, tsv, json, csv, lrc, md, ass. */
  write(format) {
    return this.#whenFree(() => {
      if (!this.#worker) throw new WhisperError({ kind: "Error", message: "nothing has been transcribed yet" });
      return this.#call("write", { format });
    });
  }

  #whenFree(run) {
    const result = this.#busy.then(run);
    this.#busy = result.catch(() => {});
    return result;
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = null;
    this.#fail({ kind: "AbortError", message: "cancelled" });
  }

  /** Give the memory back. A transcription that runs ends with an error; the next one loads the model again, from the cache. */
  close() {
    this.#end();
  }
}

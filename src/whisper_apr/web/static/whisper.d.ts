/** One word, with word timestamps. Times are in seconds. */
export interface Word {
  word: string;
  start: number;
  end: number;
  probability: number;
}

/** One segment of the text; the fields are those of openai-whisper. Times are in seconds. */
export interface Segment {
  id: number;
  seek: number;
  start: number;
  end: number;
  text: string;
  tokens: number[];
  temperature: number;
  avg_logprob: number;
  compression_ratio: number;
  no_speech_prob: number;
  words?: Word[];
}

/** The result. `language` is a code, such as "de". */
export interface Transcription {
  text: string;
  segments: Segment[];
  language: string;
}

/** `engine`: Python is starting. `model`: bytes that are loaded. `audio`: seconds that are transcribed. */
export interface Progress {
  stage: "engine" | "model" | "audio";
  loaded: number;
  total: number;
}

export interface LoadOptions {
  /**
   * URL of an `.apr` file. If `model` or `wheel` is missing, the options that are not given are read from settings.json
   * beside this module, an object with the same names.
   */
  model?: string;
  /** URL of whisper_apr's wheel for Pyodide. */
  wheel?: string;
  /** URL of a folder with Pyodide, ending in a slash. Default: a folder on cdn.jsdelivr.net. */
  pyodide?: string;
  /** URL of NumPy's wheel for Pyodide. Default: the one that belongs to Pyodide. */
  numpy?: string;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

export interface TranscribeOptions {
  /** A code or an English name. Default: detected. */
  language?: string;
  task?: "transcribe" | "translate";
  wordTimestamps?: boolean;
  initialPrompt?: string;
  /** Called with each segment once it is final. */
  onSegment?: (segment: Segment) => void;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Any other option of Python's `whisper_apr.transcribe`, under its Python name. */
  [option: string]: unknown;
}

/** `name` is the name of the Python exception: AudioError, FormatError, OptionError and so on. */
export class WhisperError extends Error {}

/** A file in a format that the browser can decode. */
export type Recording = Blob | ArrayBuffer;

/** Decode a recording to mono samples at 16 kHz. */
export function decodeAudio(source: Recording): Promise<Float32Array>;

/** A model that runs in a web worker. */
export class Whisper {
  /** Start Python, download the model (or take it from Cache Storage), and open it. */
  static load(options: LoadOptions): Promise<Whisper>;
  readonly multilingual: boolean;
  /** Codes and English names; empty for an English-only model. */
  readonly languages: [code: string, name: string][];
  /** Transcribe mono samples at 16 kHz, or a file. Calls are queued: one transcription runs at a time. */
  transcribe(source: Float32Array | Recording, options?: TranscribeOptions): Promise<Transcription>;
  /** Return the last transcription as the text of a file. */
  write(format: "txt" | "srt" | "vtt" | "tsv" | "json" | "csv" | "lrc" | "md" | "ass"): Promise<string>;
  /** Terminate the worker and free its memory. The next transcription loads the model again, from the cache. */
  close(): void;
}

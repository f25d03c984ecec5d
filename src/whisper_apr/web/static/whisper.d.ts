/** Times are in seconds. */
export interface Word {
  word: string;
  start: number;
  end: number;
  probability: number;
}

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

export interface Transcription {
  text: string;
  segments: Segment[];
  language: string;
}

/** `engine`: Python boots. `model`: bytes that have come. `audio`: seconds that are done. */
export interface Progress {
  stage: "engine" | "model" | "audio";
  loaded: number;
  total: number;
}

export interface LoadOptions {
  /** URL of an `.apr` file. What is not given here is taken from settings.json beside the module, an object with these names. */
  model?: string;
  /** URL of the wasm32 wheel of whisper_apr. */
  wheel?: string;
  /** URL of a folder with Pyodide, ending in a slash; its usual place unless given. */
  pyodide?: string;
  /** URL of a NumPy wheel for Pyodide; Pyodide's own unless given. */
  numpy?: string;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

export interface TranscribeOptions {
  /** A code or an English name; detected unless given. */
  language?: string;
  task?: "transcribe" | "translate";
  wordTimestamps?: boolean;
  initialPrompt?: string;
  onSegment?: (segment: Segment) => void;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
  /** Any other option of `whisper_apr.transcribe`, under its own name. */
  [option: string]: unknown;
}

/** `name` is the kind of error: AudioError, FormatError, OptionError and so on, as in Python. */
export class WhisperError extends Error {}

export type Recording = Blob | ArrayBuffer;

export function decodeAudio(source: Recording): Promise<Float32Array>;

export class Whisper {
  static load(options: LoadOptions): Promise<Whisper>;
  readonly multilingual: boolean;
  readonly languages: [code: string, name: string][];
  transcribe(source: Float32Array | Recording, options?: TranscribeOptions): Promise<Transcription>;
  write(format: "txt" | "srt" | "vtt" | "tsv" | "json" | "csv" | "lrc" | "md" | "ass"): Promise<string>;
  close(): void;
}

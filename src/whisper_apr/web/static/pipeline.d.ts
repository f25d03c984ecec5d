import type { LoadOptions, Recording, Whisper } from "./whisper.js";

/** What `progress_callback` is given, as by transformers.js. */
export interface ProgressInfo {
  /** In this order; "download" and "progress" only once the model's bytes arrive. */
  status: "initiate" | "download" | "progress" | "done" | "ready";
  /** The model that `pipeline` was given; with "ready" it is `model`. */
  name?: string;
  /** The file's name. */
  file?: string;
  /** With "progress", percent; 0 if the total is unknown. */
  progress?: number;
  /** With "progress", bytes. */
  loaded?: number;
  /** With "progress", bytes, or null if unknown. */
  total?: number | null;
  /** With "ready". */
  task?: string;
  /** With "ready". */
  model?: string;
}

/** Options of `pipeline`: those of transformers.js that are listed here, and those of `Whisper.load`. */
export interface PipelineOptions extends Omit<LoadOptions, "model"> {
  /** Called while the model is loaded. */
  progress_callback?: (progress: ProgressInfo) => void;
  /** Which file of the hub to take: NAME-float32.apr, NAME-float16.apr, NAME-int8.apr or NAME-int4.apr. */
  dtype?: "auto" | "fp32" | "fp16" | "q8" | "int8" | "uint8" | "q4" | "int4";
  /** Without effect: the CPU is used. With "webgpu" or "webnn" the console says so. */
  device?: string | null;
}

/** Options of a call, as for transformers.js. Any other one is an error. */
export interface AutomaticSpeechRecognitionConfig {
  /** Whether `chunks` are returned: segments, or words. Default: false. */
  return_timestamps?: boolean | "word";
  /**
   * Above 0: the recording is cut at quiet places into windows of at most 30 s that do not depend on each other. 0, the
   * default: each window is given the text before it. The whole recording is transcribed in both cases.
   */
  chunk_length_s?: number;
  /** Must be less than `chunk_length_s`; otherwise without effect, because windows do not overlap. */
  stride_length_s?: number | null;
  /** Without effect: sequences are always whole. */
  force_full_sequences?: boolean;
  /** A code or an English name. Default: detected. */
  language?: string | null;
  /** "translate" writes English. Default: "transcribe". */
  task?: "transcribe" | "translate" | null;
  /** Most tokens of a window of 30 s. */
  max_new_tokens?: number | null;
  /** Beams searched. Default: 1. */
  num_beams?: number | null;
  /** Above 1, tokens that have occurred become less probable. */
  repetition_penalty?: number | null;
  /** Length of token sequences that must not occur twice in a window. Default: 0, no limit. */
  no_repeat_ngram_size?: number | null;
  /** Whether tokens are drawn at random. Default: false. */
  do_sample?: boolean;
  /** With `do_sample`, the temperature. Default: 1. */
  temperature?: number;
}

export interface Chunk {
  text: string;
  /** Start and end in seconds. */
  timestamp: [start: number, end: number];
}

export interface AutomaticSpeechRecognitionOutput {
  text: string;
  /** With `return_timestamps`. */
  chunks?: Chunk[];
}

/** A URL, mono samples at 16 kHz, or a file in a format that the browser can decode. */
export type AudioInput = string | URL | Float32Array | Float64Array | Recording;

export interface AutomaticSpeechRecognitionPipelineType {
  (audio: AudioInput, options?: AutomaticSpeechRecognitionConfig): Promise<AutomaticSpeechRecognitionOutput>;
  (audio: AudioInput[], options?: AutomaticSpeechRecognitionConfig): Promise<AutomaticSpeechRecognitionOutput[]>;
  readonly task: string;
  /** The model. */
  readonly whisper: Whisper;
  /** Free the model. */
  dispose(): Promise<void>;
}

/**
 * Load a model for transcribing, as the function of transformers.js does.
 *
 * `model` is the URL of an `.apr` file, or a name: of "Xenova/whisper-tiny.en" and "openai/whisper-tiny.en" the file
 * tiny.en.apr in the folder `hub` is loaded.
 */
export function pipeline(
  task: "automatic-speech-recognition",
  model: string,
  options?: PipelineOptions,
): Promise<AutomaticSpeechRecognitionPipelineType>;

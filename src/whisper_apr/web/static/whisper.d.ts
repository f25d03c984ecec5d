/** One word, with word timestamps. Times are in seconds. */
export interface Word {
  word: string;
  start: number;
  end: number;
  probability: number;
  /** Who speaks, with the option `speakers`. */
  speaker?: string;
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
  /** Who speaks, with the option `speakers`: SPEAKER_00, SPEAKER_01 and so on; missing if nobody is heard. */
  speaker?: string;
}

/** The result. `language` is a code, such as "de". */
export interface Transcription {
  text: string;
  segments: Segment[];
  language: string;
}

/** Bytes of Python's files that were received. */
export interface StartupProgress {
  loaded: number;
}

/** Bytes of a file that were received; `total` is null if the server compresses it. */
export interface DownloadProgress {
  loaded: number;
  total: number | null;
}

/** Seconds of the recording that are done. */
export interface TranscriptionProgress {
  done: number;
  total: number;
}

export interface LoadOptions {
  /**
   * URL of an `.apr` file, relative to the page; with `hub` also a name, such as "base-int8". If it is missing, and
   * these are not the files of the npm package, it is read from settings.json beside this module, see `wheel`.
   */
  model?: string;
  /** URL of a folder of models. The model NAME is its file NAME.apr. */
  hub?: string;
  /**
   * URL of whisper_apr's wheel for Pyodide. Default: the one in the npm package. Outside of it, if `model` or `wheel`
   * is missing, the options that are not given are read from settings.json beside this module, an object with the same
   * names.
   */
  wheel?: string;
  /** URL of a folder with Pyodide, ending in a slash. Default: a folder on cdn.jsdelivr.net. */
  pyodide?: string;
  /** URL of NumPy's wheel for Pyodide. Default: the one that belongs to Pyodide. */
  numpy?: string;
  /**
   * URL of a wheel of whisper-apr-speakers, with the weights that tell speakers apart (16 MB). It is downloaded when
   * the option `speakers` of `transcribe` first needs it, and cached as the model is.
   */
  speakers?: string;
  /** URL of worker.js. Default: the file beside this module, or what a bundler made of it. */
  worker?: string;
  /**
   * Threads that compute. Default: the number of logical processors, at most 4. More than one need a page that is
   * cross-origin isolated (the headers COOP and COEP); elsewhere one is used.
   */
  threads?: number;
  /**
   * Whether to use faster kernels where the browser has WebAssembly's relaxed SIMD. They fuse products and sums of
   * floats if the processor can, so that a few words may differ; integers are exact in both. Default: false.
   */
  fast?: boolean;
  /** Called while Python starts; also when it starts again after a cancelled transcription or `close`. */
  onStartup?: (progress: StartupProgress) => void;
  /** Called while the model is downloaded or read from the cache; also when it is loaded again. */
  onDownload?: (progress: DownloadProgress) => void;
  /** Cancels the loading. */
  signal?: AbortSignal;
  /** Milliseconds without a byte received, after which a transfer is given up or repeated. Default: 60 000. */
  timeout?: number;
}

/** Options of voice activity detection; names and defaults are those of faster-whisper. */
export interface VadOptions {
  /** The probability of speech from which on a frame begins speech, above 0 and at most 1. Default: 0.5. */
  threshold?: number;
  /** The probability below which a frame may end speech. Default: `threshold` - 0.15. */
  neg_threshold?: number;
  /** Shorter speech is dropped. Default: 0. */
  min_speech_duration_ms?: number;
  /** Longer speech is cut, at the last short pause if there is one. Default: no limit. */
  max_speech_duration_s?: number;
  /** Shorter silence is part of the speech around it. Default: 2000; in `live` 800. */
  min_silence_duration_ms?: number;
  /** Added before and after each span of speech. Default: 400; in `live` 300. */
  speech_pad_ms?: number;
}

export interface TranscribeOptions {
  /** A code or an English name. Default: detected. */
  language?: string;
  /** "translate" writes English. Default: "transcribe". */
  task?: "transcribe" | "translate";
  /** Whether segments have `words`, with their times. Default: false. */
  wordTimestamps?: boolean;
  /** Text given to the model as the text before the recording, such as names that occur in it. */
  initialPrompt?: string;
  /** Whether to leave out parts without speech before transcribing, with these options. Default: false. */
  vad?: boolean | VadOptions;
  /**
   * Tell speakers apart: segments and words have a `speaker`, and with `wordTimestamps` segments are split where the
   * speaker changes. `true` finds their number, from 1 to 50; turns that are known need no weights. Default: false.
   */
  speakers?: boolean | number | [start: number, end: number, speaker: string][];
  /** Called while the speakers are found, which comes first. */
  onSpeakers?: (progress: TranscriptionProgress) => void;
  /** Called while the weights that tell speakers apart are downloaded or read from the cache. */
  onDownload?: (progress: DownloadProgress) => void;
  /** Called with each segment once it is final. */
  onSegment?: (segment: Segment) => void;
  /** Called when a part of the recording is transcribed. */
  onProgress?: (progress: TranscriptionProgress) => void;
  /** Cancels the transcription, which then throws the signal's reason. */
  signal?: AbortSignal;
  /** Give the samples' buffer to the worker instead of a copy, to save memory; the array is empty afterwards. */
  transfer?: boolean;
  /** Any other option of Python's `whisper_apr.transcribe`, under its Python name. */
  [option: string]: unknown;
}

export interface LiveOptions {
  /** A code or an English name. Default: detected for each utterance. */
  language?: string;
  /** "translate" writes English. Default: "transcribe". */
  task?: "transcribe" | "translate";
  /** Text given to the model as the text before each utterance, such as names that occur in it. */
  initialPrompt?: string;
  /** Seconds of new speech between two transcriptions of an utterance, above 0 and at most 30. Default: 1. */
  step?: number;
  /** When an utterance ends. */
  vad?: VadOptions;
  /** Rate of the samples in Hz, if the source is not a MediaStream. Default: 16 000. */
  sampling_rate?: number;
  /** Cancels the transcription; the iteration then throws the signal's reason. */
  signal?: AbortSignal;
  /** Any other option of Python's `whisper_apr.LiveTranscriber`, under its Python name. */
  [option: string]: unknown;
}

/** The text after some more sound has been heard. Times of words are seconds from the beginning. */
export interface LiveText {
  /** Words that became final. */
  settled: Word[];
  /** Words that may still change. They replace those of the previous text. */
  tentative: Word[];
  /** The text of `settled`. Those of all texts, joined, are the whole text. */
  settledText: string;
  /** The text of `tentative`. */
  tentativeText: string;
}

/**
 * The texts of a live transcription, which begins with the iteration. It is cancelled if the iteration is left early.
 */
export interface LiveTranscription extends AsyncIterable<LiveText> {
  /** End the sound. The last text, in which all words are final, comes afterwards, and ends the iteration. */
  stop(): void;
}

/** `name` is the name of the Python exception: AudioError, FormatError, OptionError and so on. */
export class WhisperError extends Error {}

/** A file: plain samples in WAV, AIFF, AU, CAF and others, or a format that the browser can decode. */
export type Recording = Blob | ArrayBuffer;

/**
 * Decode a recording to mono samples at 16 kHz with the browser alone. It also converts the sampling rate, which gives
 * slightly different samples than `Whisper.decode`, and limits loud MP3 files to full scale.
 */
export function decodeAudio(source: Recording): Promise<Float32Array>;

/** A model that runs in a web worker. */
export class Whisper {
  /** Start Python, download the model (or take it from Cache Storage), and open it. */
  static load(options: LoadOptions): Promise<Whisper>;
  readonly multilingual: boolean;
  /** Threads that compute. */
  readonly threads: number;
  /** Whether the kernels that the option `fast` asks for are used. */
  readonly fast: boolean;
  /** Whether speakers can be told apart: the option `speakers` of `load`, or settings.json, names the weights. */
  readonly canFindSpeakers: boolean;
  /** Codes and English names; empty for an English-only model. */
  readonly languages: [code: string, name: string][];
  /**
   * Decode a recording to mono samples at 16 kHz: those that Python's `load_audio` returns, up to differences between
   * the decoders of compressed formats. `onWarning` is called for damage in the file.
   */
  decode(
    source: Recording,
    options?: { signal?: AbortSignal; onWarning?: (message: string) => void },
  ): Promise<Float32Array>;
  /** Transcribe mono samples at 16 kHz, or a file. Calls are queued: one transcription runs at a time. */
  transcribe(source: Float32Array | Recording, options?: TranscribeOptions): Promise<Transcription>;
  /**
   * Transcribe, and iterate over the segments as they become final. The transcription begins with the iteration, and is
   * cancelled if the iteration is left early.
   */
  segments(source: Float32Array | Recording, options?: TranscribeOptions): AsyncGenerator<Segment, void, void>;
  /**
   * Transcribe sound while it arrives: a MediaStream, until all its audio tracks end, or blocks of mono samples. Calls
   * of `transcribe` wait until it ends.
   */
  live(
    source: MediaStream | AsyncIterable<Float32Array> | Iterable<Float32Array>,
    options?: LiveOptions,
  ): LiveTranscription;
  /**
   * Return a transcription as the text of a file: the last one, or one that is given, for example with corrections or
   * with the segments of a transcription that was cancelled.
   */
  write(
    format: "txt" | "srt" | "vtt" | "tsv" | "json" | "csv" | "lrc" | "md" | "ass" | "rttm" | "textgrid",
    transcription?: Transcription,
  ): Promise<string>;
  /** Terminate the worker and free its memory. The next transcription loads the model again, from the cache. */
  close(): void;
}

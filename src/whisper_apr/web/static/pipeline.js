// `pipeline("automatic-speech-recognition", model)` with the options and the results of transformers.js, so that a page
// can use this package by changing its import. pipeline.d.ts documents what is accepted.

import { Whisper, WhisperError } from "./whisper.js";

const TASK = "automatic-speech-recognition";
// names of transformers.js and what the files of models are called
const DTYPES = { fp32: "float32", fp16: "float16", q8: "int8", int8: "int8", uint8: "int8", q4: "int4", int4: "int4" };
// options of a call that Python has under another name, or under the same one
const RENAMED = {
  language: "language",
  task: "task",
  max_new_tokens: "sample_len",
  num_beams: "beam_size",
  repetition_penalty: "repetition_penalty",
  no_repeat_ngram_size: "no_repeat_ngram_size",
};
const TIMESTAMPS = [false, true, "word"];
const OTHERS = [
  ...["return_timestamps", "chunk_length_s", "stride_length_s", "force_full_sequences"],
  ...["do_sample", "temperature"],
];
const LOAD_OPTIONS = [
  ...["hub", "wheel", "pyodide", "numpy", "worker", "threads", "fast"],
  ...["timeout", "signal", "onStartup", "onDownload"],
];

const refuse = (message) => {
  throw new WhisperError({ kind: "OptionError", message });
};

function refuseUnknown(given, known) {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown) refuse(`pipeline: there is no option ${unknown}; there are ${known.join(", ")}`);
}

const isURL = (model) => /^[a-z]+:|\.apr$/i.test(model);

/**
 * Return the `model` for `Whisper.load`. The name of a repository, such as "Xenova/whisper-tiny.en", becomes the name
 * of a file in the hub, "tiny.en", or with the dtype q8 "tiny.en-int8". URLs are returned as they are.
 */
export function modelName(model, dtype) {
  if (isURL(model)) return model;
  const name = model.slice(model.lastIndexOf("/") + 1).replace(/^whisper-/, "");
  if (dtype === undefined || dtype === null || dtype === "auto") return name;
  const suffix = DTYPES[dtype] ?? refuse(`dtype must be one of ${Object.keys(DTYPES).join(", ")}, not ${dtype}`);
  return `${name}-${suffix}`;
}

/** Translate the options of a call to those of `Whisper.transcribe`. */
export function translateOptions(given) {
  refuseUnknown(given, [...Object.keys(RENAMED), ...OTHERS]);
  const options = {};
  for (const [name, python] of Object.entries(RENAMED)) {
    if (given[name] !== undefined && given[name] !== null) options[python] = given[name];
  }
  if (options.beam_size === 1) delete options.beam_size; // greedy decoding
  const timestamps = given.return_timestamps ?? false;
  if (!TIMESTAMPS.includes(timestamps)) refuse(`return_timestamps must be true, false or "word", not ${timestamps}`);
  options.wordTimestamps = timestamps === "word";
  const length = given.chunk_length_s ?? 0;
  const stride = given.stride_length_s ?? length / 6;
  if (!(length >= 0)) refuse(`chunk_length_s must be a number of at least 0, not ${length}`);
  if (length > 0 && !(stride >= 0 && stride < length)) refuse("stride_length_s must be less than chunk_length_s");
  if (length > 0) options.batch_size = 1; // windows that do not depend on each other
  if (given.do_sample) options.temperature = given.temperature ?? 1;
  return options;
}

// Return the result of a transcription as transformers.js does.
function toOutput({ text, segments }, timestamps) {
  if (!timestamps) return { text };
  const parts = timestamps === "word" ? segments.flatMap(({ words }) => words) : segments;
  const chunks = parts.map(({ text, word, start, end }) => ({ text: text ?? word, timestamp: [start, end] }));
  return { text, chunks };
}

async function readAudio(audio) {
  if (audio instanceof Float64Array) return new Float32Array(audio);
  if (typeof audio !== "string" && !(audio instanceof URL)) return audio;
  const response = await fetch(audio);
  if (response.ok) return response.arrayBuffer();
  const message = `${audio}: the server responded with ${response.status} ${response.statusText}`.trim();
  throw new WhisperError({ kind: "AudioError", message });
}

/**
 * Load a model, and return a function that transcribes one recording or an array of recordings. It has the method
 * `dispose`, which frees the model, and the properties `task` and `whisper`.
 */
export async function pipeline(task, model, given = {}) {
  if (task !== TASK) refuse(`pipeline: the task must be ${TASK}, not ${task}`);
  if (typeof model !== "string" || !model) refuse("pipeline: it needs the name or the URL of a model");
  const { progress_callback: report = () => {}, dtype, device, ...options } = given;
  refuseUnknown(options, ["progress_callback", "dtype", "device", ...LOAD_OPTIONS]);
  if (device?.startsWith?.("web")) console.warn(`whisper-apr: device "${device}" is not supported; the CPU is used`);
  const name = modelName(model, dtype);
  if (!isURL(model) && options.hub === undefined) {
    refuse(`${model}: a model's name needs the option hub, the URL of a folder with ${name}.apr`);
  }
  const about = { name: model, file: name.slice(name.lastIndexOf("/") + 1) };
  report({ status: "initiate", ...about });
  let isBegun = false;
  const whisper = await Whisper.load({
    ...options,
    model: name,
    onDownload(progress) {
      options.onDownload?.(progress);
      if (!isBegun) report({ status: "download", ...about });
      isBegun = true;
      const { loaded, total } = progress;
      report({ status: "progress", ...about, progress: total === null ? 0 : (100 * loaded) / total, loaded, total });
    },
  });
  report({ status: "done", ...about });
  report({ status: "ready", task, model });

  const run = async (audio, options) => {
    const result = await whisper.transcribe(await readAudio(audio), translateOptions(options));
    return toOutput(result, options.return_timestamps);
  };
  const transcriber = async (audio, options = {}) => {
    if (!Array.isArray(audio)) return run(audio, options);
    const outputs = [];
    for (const each of audio) outputs.push(await run(each, options));
    return outputs;
  };
  return Object.assign(transcriber, { task, whisper, dispose: async () => whisper.close() });
}

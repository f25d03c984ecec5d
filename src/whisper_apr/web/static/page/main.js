// The page: loads a model, takes recordings from files and the microphone, and shows their text.

import { Whisper } from "../whisper.js";
import { $, setIcon } from "./dom.js";
import { connectFiles } from "./files.js";
import { clock, languageName, megabytes } from "./format.js";
import { connectIntake } from "./intake.js";
import { LiveCaptions } from "./live.js";
import { ModelChooser } from "./models.js";
import { keepStorage, startServiceWorker } from "./offline.js";
import { Player } from "./player.js";
import { Speakers } from "./speakers.js";
import { setState, showError, showStatus } from "./status.js";
import { Transcript } from "./transcript.js";
import { toWAV } from "./wav.js";
import { findPeaks } from "./waveform.js";

const RATE = 16000; // Hz, the models' sampling rate

let whisper = null;
let running = null; // the AbortController of the loading or the transcription that goes on
let live = null; // the LiveCaptions that go on
let waiting = null; // a file that was given meanwhile
let name = "recording"; // of the file whose text is shown
let language; // of the text that is shown, as a code

const player = new Player((time, isPlaying) => transcript.follow(time, isPlaying));
const speakers = new Speakers(() => transcript.showSpeakers());
const transcript = new Transcript({
  onSeek: (time) => player.playFrom(time),
  onEditRequested: () => setEditing(true),
  speakers,
});
const models = new ModelChooser(load);

function begin() {
  showError(null);
  running = new AbortController();
  update();
  return running.signal;
}

function end(state) {
  running = null;
  setState(state ?? (transcript.length ? "done" : whisper ? "ready" : "failed"));
  update();
}

// Show and enable what can be used now.
function update() {
  $("record").disabled = !whisper || Boolean(running || live);
  $("choose-model").disabled = Boolean(running || live);
  $("cancel").hidden = !running;
  $("retry").hidden = Boolean(whisper || running);
}

function showDownload(text, { loaded, total }) {
  const of = total === null ? "" : ` of ${megabytes(total)}`;
  showStatus(text, total === null ? null : loaded / total, `${megabytes(loaded)}${of} MB`);
}

const showProgress = (text, { done, total }) => showStatus(text, done / total, `${clock(done)} of ${clock(total)}`);

// ---- loading -------------------------------------------------------------------------------------------------------

async function load() {
  whisper?.close();
  whisper = null;
  setState("loading");
  const signal = begin();
  showStatus("Starting Python …", null);
  try {
    // these are also called when Python starts again after a cancelled transcription
    whisper = await Whisper.load({
      model: models.current?.url,
      signal,
      onStartup: ({ loaded }) => showStatus("Starting Python …", null, `${megabytes(loaded)} MB`),
      onDownload: (progress) => showDownload("Loading the model …", progress),
    });
    $("language").length = 1;
    for (const [code] of whisper.languages) $("language").add(new Option(languageName(code, whisper.languages), code));
    for (const id of ["language", "task"]) $(id).closest("label").hidden = !whisper.multilingual;
    $("speakers").closest("label").hidden = !whisper.canFindSpeakers;
    $("options").hidden = !whisper.multilingual && !whisper.canFindSpeakers;
    showStatus("Ready.");
  } catch (error) {
    if (error.name === "AbortError") showStatus("Loading was cancelled.");
    else {
      showStatus("The model could not be loaded.");
      showError(error);
    }
  }
  end();
  if (whisper) takeWaiting();
}

// ---- files ---------------------------------------------------------------------------------------------------------

// Transcribe a file now, or after what is going on.
function take(file) {
  keepStorage();
  if (whisper && !running && !live) {
    transcribe(file);
    return;
  }
  waiting = file;
  showWaiting(false);
}

function showWaiting(withButton) {
  $("next").hidden = !waiting;
  $("next-name").textContent = waiting ? `Next: ${waiting.name}` : "";
  $("next-start").hidden = !withButton;
}

function takeWaiting() {
  const file = waiting;
  waiting = null;
  showWaiting(false);
  if (file) transcribe(file);
}

function clearResult() {
  setEditing(false);
  transcript.clear();
  player.close();
  for (const id of ["result", "empty", "tools"]) $(id).hidden = true;
}

const chosenOptions = () => ({ language: $("language").value || undefined, task: $("task").value });

// The option `speakers`: true, a number, or undefined.
function chosenSpeakers() {
  const { value } = $("speakers");
  if (!value || !whisper.canFindSpeakers) return undefined;
  return value === "auto" || Number(value);
}

// `captions` are segments that are shown until those of the transcription replace them.
async function transcribe(file, captions = []) {
  clearResult();
  for (const segment of captions) transcript.add(segment, true);
  setState("running");
  const signal = begin();
  showWaiting(false);
  name = file.name ?? "recording";
  showStatus(`Reading ${name} …`, null);
  let seconds = 0;
  let done = 0;
  try {
    const warnings = [];
    const samples = await whisper.decode(file, { signal, onWarning: (message) => warnings.push(message) });
    if (!samples.length) throw new Error(`${name}: the recording is empty`);
    seconds = samples.length / RATE;
    const peaks = await findPeaks(samples);
    signal.throwIfAborted();
    $("name").textContent = name;
    $("note").textContent = warnings.join("; ");
    $("note").hidden = !warnings.length;
    $("result").hidden = false;
    await player.open(file, seconds, peaks, () => toWAV(samples, RATE));
    signal.throwIfAborted();
    const options = chosenOptions();
    const [working, worked] =
      options.task === "translate" ? ["Translating …", "translated"] : ["Transcribing …", "transcribed"];
    showStatus(working, 0);
    const result = await whisper.transcribe(samples, {
      ...options,
      speakers: chosenSpeakers(),
      wordTimestamps: true,
      audio_context: "auto",
      signal,
      transfer: true,
      onDownload: (progress) => showDownload("Loading the networks for speakers …", progress),
      onSpeakers: (progress) => {
        if (progress.done < progress.total) showProgress("Finding speakers …", progress);
        else showStatus(working, 0);
      },
      onSegment: showSegment,
      onProgress: (progress) => {
        done = progress.done;
        showProgress(working, progress);
      },
    });
    ({ language } = result);
    const spoken = languageName(language, whisper.languages);
    const voices = chosenSpeakers() ? ` Speakers: ${speakers.count}.` : "";
    showStatus(`Done: ${clock(seconds)} of audio ${worked}. Spoken language: ${spoken}.${voices}`);
    transcript.endDrafts(false);
    $("empty").hidden = transcript.length > 0;
    end("done");
  } catch (error) {
    fail(error, `${clock(done)} of ${clock(seconds)}`);
  }
  $("tools").hidden = !transcript.length;
  if (transcript.length) showWaiting(true); // the next file would replace this text, so the user starts it
  else takeWaiting();
}

// Keep the text that is there after a cancel or an error.
function fail(error, reached) {
  language = $("language").value || undefined;
  transcript.endDrafts(true);
  const isKept = transcript.length > 0;
  $("result").hidden = !isKept;
  if (error.name === "AbortError") {
    showStatus(isKept ? `Cancelled at ${reached}. The text up to there is kept.` : "Cancelled.");
  } else {
    showStatus(isKept ? `Stopped at ${reached}. The text up to there is kept.` : "Ready.");
    showError(error);
  }
  end(isKept ? "cancelled" : "ready");
}

function showSegment(segment) {
  transcript.add(segment);
  if (segment.text.trim()) player.cover(segment.start, segment.end);
}

// ---- microphone ----------------------------------------------------------------------------------------------------

async function record() {
  keepStorage();
  clearResult();
  showError(null);
  live = new LiveCaptions();
  update();
  showStatus("Waiting for the microphone …");
  const captions = live;
  let file = null;
  try {
    file = await captions.run(whisper, chosenOptions(), () => {
      setState("live");
      showStatus("Listening …");
      $("stop").focus();
    });
  } catch (error) {
    const isDenied = error instanceof DOMException;
    showError(isDenied ? new Error(`the microphone cannot be used: ${error.message}`) : error);
    showStatus("Ready.");
  }
  live = null;
  if (file) await transcribe(file, captions.segments);
  else end();
}

// ---- result --------------------------------------------------------------------------------------------------------

function setEditing(value) {
  transcript.isEditing = value;
  $("edit-label").textContent = value ? "Finish" : "Correct";
  setIcon($("edit"), value ? "check" : "edit");
  $("edit").classList.toggle("primary", value);
}

connectFiles({
  getText: () => transcript.text,
  getName: () => name,
  async write(format) {
    const { segments } = transcript;
    const before = $("status").textContent;
    try {
      return await whisper.write(format, { text: segments.map(({ text }) => text).join(""), segments, language });
    } finally {
      if (!running) showStatus(before); // if Python had to be started again
    }
  },
});
connectIntake(take);
$("record").onclick = record;
$("stop").onclick = () => live?.stop();
$("cancel").onclick = () => running?.abort();
$("retry").onclick = load;
$("next-start").onclick = takeWaiting;
$("edit").onclick = () => setEditing(!transcript.isEditing);

await Promise.all([models.read(), startServiceWorker()]);
load();

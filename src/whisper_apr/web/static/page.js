// The page: takes a recording from a file or the microphone, and shows its text while it is transcribed.

import { Whisper, decodeAudio } from "./whisper.js";

const $ = (id) => document.getElementById(id);
const RATE = 16000; // Hz, the models' sampling rate
const languageNames = new Intl.DisplayNames("en", { type: "language", fallback: "none" });

let whisper;
let running = null; // the AbortController of the current transcription
let samples = null;
let segments = [];
let name = "recording";

// ---- status --------------------------------------------------------------------------------------------------------

// Show the state. Screen readers announce `text`, but not `detail`, which changes all the time. `fraction` is the share
// that is done, null if it is unknown, undefined if nothing is in progress.
function showStatus(text, fraction, detail = "") {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("detail").textContent = detail;
  $("progress").hidden = fraction === undefined;
  if (fraction === null) $("progress").removeAttribute("value");
  else if (fraction !== undefined) $("progress").value = fraction;
}

function showError(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0");
  const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
  return `${hours}${minutes}:${String(whole % 60).padStart(2, "0")}`;
};

// The English name of a language: the browser's, otherwise the model's with capitals, otherwise the code.
function languageName(code) {
  const name = languageNames.of(code);
  if (name) return name;
  const known = whisper.languages.find(([each]) => each === code)?.[1] ?? code;
  return known.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
}

const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

function enable(ready) {
  for (const id of ["file", "record"]) $(id).disabled = !ready;
  $("cancel").hidden = ready || !running;
}

// ---- waveform ------------------------------------------------------------------------------------------------------

function draw() {
  const canvas = $("wave");
  if (!samples || $("player").hidden) return;
  const scale = devicePixelRatio;
  const width = (canvas.width = canvas.clientWidth * scale);
  const height = (canvas.height = canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const [spoken, silent] = ["--accent", "--line"].map((name) => resolveColor(style, name));
  const seconds = samples.length / RATE;
  let loudest = 1e-4;
  for (let i = 0; i < samples.length; i += 7) loudest = Math.max(loudest, Math.abs(samples[i]));
  const isSpeech = (time) => segments.some(({ text, start, end }) => text.trim() && start <= time && time <= end);
  for (let x = 0; x < width; x += 2) {
    const begin = Math.floor((x / width) * samples.length);
    const end = Math.min(samples.length, Math.ceil(((x + 2) / width) * samples.length));
    let top = 0;
    for (let i = begin; i < end; i++) top = Math.max(top, Math.abs(samples[i]));
    const barHeight = Math.max(scale, (top / loudest) * height);
    context.fillStyle = isSpeech((x / width) * seconds) ? spoken : silent;
    context.fillRect(x, (height - barHeight) / 2, 1.5, barHeight);
  }
}

// The computed value of a custom property: a canvas does not understand light-dark().
function resolveColor(style, property) {
  const probe = document.createElement("span");
  probe.style.color = style.getPropertyValue(property);
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

function seek(seconds) {
  $("audio").currentTime = seconds;
  $("audio").play().catch(() => {});
}

// ---- transcript ----------------------------------------------------------------------------------------------------

function addSegment(segment) {
  segments.push(segment);
  const text = segment.text.trim();
  if (text) {
    const item = document.createElement("li");
    const time = document.createElement("button");
    time.type = "button";
    time.textContent = clock(segment.start);
    time.setAttribute("aria-label", `Play from ${clock(segment.start)}`);
    time.onclick = () => seek(segment.start);
    const words = document.createElement("span");
    words.textContent = text;
    item.append(time, words);
    item.dataset.start = segment.start;
    item.dataset.end = segment.end;
    $("segments").append(item);
  }
  draw();
}

function highlightCurrent() {
  const now = $("audio").currentTime;
  for (const item of $("segments").children) {
    item.classList.toggle("now", item.dataset.start <= now && now < item.dataset.end && !$("audio").paused);
  }
}

function clearResult() {
  showError(null);
  segments = [];
  $("segments").replaceChildren();
  for (const id of ["result", "player", "empty", "downloads"]) $(id).hidden = true;
}

async function transcribe(file) {
  if (!whisper || running) return;
  clearResult();
  running = new AbortController();
  enable(false);
  name = file.name ?? "recording";
  showStatus(`Reading ${name} …`, null);
  try {
    samples = await decodeAudio(file);
    $("name").textContent = `${name}, ${clock(samples.length / RATE)}`;
    if ($("audio").src) URL.revokeObjectURL($("audio").src);
    $("audio").src = URL.createObjectURL(file);
    $("player").hidden = $("result").hidden = false;
    draw();
    const task = $("task").value;
    const working = task === "translate" ? "Translating …" : "Transcribing …";
    showStatus(working, 0);
    const result = await whisper.transcribe(samples, {
      language: $("language").value || undefined,
      task,
      signal: running.signal,
      onSegment: addSegment,
      onProgress: ({ loaded, total }) => showStatus(working, loaded / total, `${clock(loaded)} of ${clock(total)}`),
    });
    const done = `${clock(samples.length / RATE)} of audio ${task === "translate" ? "translated" : "transcribed"}`;
    showStatus(`Done: ${done}. Spoken language: ${languageName(result.language)}.`);
    $("empty").hidden = segments.some((segment) => segment.text.trim());
    $("downloads").hidden = !$("empty").hidden;
  } catch (error) {
    if (error.name === "AbortError") showStatus("Cancelled. Choose another recording.");
    else {
      showStatus("Ready: choose another recording.");
      showError(error);
    }
  } finally {
    running = null;
    enable(true);
  }
}

async function save(format) {
  const text = await whisper.write(format);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = `${name.replace(/\.[^.]*$/, "")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// ---- microphone ----------------------------------------------------------------------------------------------------

let recorder = null;

async function record() {
  if (recorder) {
    recorder.stop();
    return;
  }
  showError(null);
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pieces = [];
    recorder = new MediaRecorder(stream);
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    recorder.onstop = () => {
      for (const track of stream.getTracks()) track.stop();
      const type = recorder.mimeType;
      recorder = null;
      $("record").textContent = "Record";
      transcribe(new File(pieces, "recording", { type }));
    };
    recorder.start();
    $("record").textContent = "Stop";
    showStatus("Recording …");
  } catch (error) {
    showError(new Error(`the microphone cannot be used: ${error.message}`));
  }
}

// ---- start ---------------------------------------------------------------------------------------------------------

$("file").onchange = ({ target }) => {
  if (target.files.length) transcribe(target.files[0]);
  target.value = ""; // otherwise choosing the same file again would not be a change
};
$("record").onclick = record;
$("cancel").onclick = () => running?.abort();
$("audio").ontimeupdate = $("audio").onpause = highlightCurrent;
$("wave").onclick = ({ offsetX, target }) => seek((offsetX / target.clientWidth) * (samples.length / RATE));
$("downloads").onclick = ({ target }) => target.dataset.format && save(target.dataset.format);
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

const drop = $("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) transcribe(event.dataTransfer.files[0]);
  });
}

try {
  whisper = await Whisper.load({
    onProgress: ({ stage, loaded, total }) => {
      if (stage === "engine") showStatus("Starting Python …", null);
      else showStatus("Loading the model …", loaded / total, `${megabytes(loaded)} of ${megabytes(total)} MB`);
    },
  });
  for (const [code] of whisper.languages) $("language").add(new Option(languageName(code), code));
  $("language").disabled = $("task").disabled = !whisper.multilingual;
  showStatus("Ready: choose a recording, drop a file, or record.");
  enable(true);
} catch (error) {
  showStatus("The model could not be loaded. Reload the page to try again.");
  showError(error);
}

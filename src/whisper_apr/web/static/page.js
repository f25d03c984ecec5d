// The page: a recording in, its text as it settles, each time a place to listen to.

import { Whisper, decodeAudio } from "./whisper.js";

const $ = (id) => document.getElementById(id);
const RATE = 16000;

let whisper;
let running = null; // the AbortController of what runs now
let samples = null;
let segments = [];
let name = "recording";

// ---- what is said of the state -------------------------------------------------------------------------------------

// `detail` changes all the time and is not read out, as `text` is.
function say(text, fraction, detail = "") {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("detail").textContent = detail;
  $("progress").hidden = fraction === undefined;
  if (fraction === null) $("progress").removeAttribute("value");
  else if (fraction !== undefined) $("progress").value = fraction;
}

function complain(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

const clock = (seconds) => {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0");
  const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
  return `${hours}${minutes}:${String(whole % 60).padStart(2, "0")}`;
};

function languageName(code) {
  const name = whisper.languages.find(([known]) => known === code)?.[1] ?? code;
  return name.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
}

function enable(ready) {
  for (const id of ["file", "record"]) $(id).disabled = !ready;
  $("cancel").hidden = ready || !running;
}

// ---- the waveform --------------------------------------------------------------------------------------------------

function draw() {
  const canvas = $("wave");
  if (!samples || $("player").hidden) return;
  const scale = devicePixelRatio;
  const width = (canvas.width = canvas.clientWidth * scale);
  const height = (canvas.height = canvas.clientHeight * scale);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const [accent, quiet] = ["--accent", "--line"].map((name) => resolved(style, name));
  const seconds = samples.length / RATE;
  let loudest = 1e-4;
  for (let i = 0; i < samples.length; i += 7) loudest = Math.max(loudest, Math.abs(samples[i]));
  const spoken = (time) => segments.some((segment) => segment.text.trim() && segment.start <= time && time <= segment.end);
  for (let x = 0; x < width; x += 2) {
    const begin = Math.floor((x / width) * samples.length);
    const end = Math.min(samples.length, Math.ceil(((x + 2) / width) * samples.length));
    let top = 0;
    for (let i = begin; i < end; i++) top = Math.max(top, Math.abs(samples[i]));
    const tall = Math.max(scale, (top / loudest) * height);
    context.fillStyle = spoken((x / width) * seconds) ? accent : quiet;
    context.fillRect(x, (height - tall) / 2, 1.5, tall);
  }
}

// A canvas knows no light-dark(): let the browser work the color out.
function resolved(style, property) {
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

// ---- the transcript ------------------------------------------------------------------------------------------------

function show(segment) {
  segments.push(segment);
  const text = segment.text.trim();
  if (text) {
    const item = document.createElement("li");
    const time = document.createElement("button");
    time.type = "button";
    time.textContent = clock(segment.start);
    time.setAttribute("aria-label", `Hear from ${clock(segment.start)}`);
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

function follow() {
  const now = $("audio").currentTime;
  for (const item of $("segments").children) {
    item.classList.toggle("now", item.dataset.start <= now && now < item.dataset.end && !$("audio").paused);
  }
}

function clear() {
  complain(null);
  segments = [];
  $("segments").replaceChildren();
  for (const id of ["result", "player", "empty", "downloads"]) $(id).hidden = true;
}

async function take(file) {
  if (!whisper || running) return;
  clear();
  running = new AbortController();
  enable(false);
  name = file.name ?? "recording";
  say(`Reading ${name} …`, null);
  try {
    samples = await decodeAudio(file);
    $("name").textContent = `${name}, ${clock(samples.length / RATE)}`;
    if ($("audio").src) URL.revokeObjectURL($("audio").src);
    $("audio").src = URL.createObjectURL(file);
    $("player").hidden = $("result").hidden = false;
    draw();
    say("Listening …", 0);
    const result = await whisper.transcribe(samples, {
      language: $("language").value || undefined,
      task: $("task").value,
      signal: running.signal,
      onSegment: show,
      onProgress: ({ loaded, total }) => say("Listening …", loaded / total, `${clock(loaded)} of ${clock(total)}`),
    });
    say(`Done: ${clock(samples.length / RATE)} in ${languageName(result.language)}.`);
    $("empty").hidden = segments.some((segment) => segment.text.trim());
    $("downloads").hidden = !$("empty").hidden;
  } catch (error) {
    if (error.name === "AbortError") say("Cancelled.");
    else {
      say("Ready for another recording.");
      complain(error);
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

// ---- the microphone ------------------------------------------------------------------------------------------------

let recorder = null;

async function record() {
  if (recorder) {
    recorder.stop();
    return;
  }
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
      take(new File(pieces, "recording", { type }));
    };
    recorder.start();
    $("record").textContent = "Stop";
    say("Recording …");
  } catch (error) {
    complain(new Error(`no microphone: ${error.message}`));
  }
}

// ---- the beginning -------------------------------------------------------------------------------------------------

$("file").onchange = ({ target }) => {
  if (target.files.length) take(target.files[0]);
  target.value = ""; // the same file may be chosen again
};
$("record").onclick = record;
$("cancel").onclick = () => running?.abort();
$("audio").ontimeupdate = $("audio").onpause = follow;
$("wave").onclick = ({ offsetX, target }) => seek((offsetX / target.clientWidth) * (samples.length / RATE));
$("downloads").onclick = ({ target }) => target.dataset.format && save(target.dataset.format);
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

const drop = $("drop");
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

try {
  whisper = await Whisper.load({
    onProgress: ({ stage, loaded, total }) => {
      if (stage === "engine") say("Starting Python …", null);
      else say("Loading the model …", loaded / total, `${(loaded / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`);
    },
  });
  for (const [code] of whisper.languages) $("language").add(new Option(languageName(code), code));
  $("language").disabled = $("task").disabled = !whisper.multilingual;
  say("Ready: choose a recording, drop one, or record.");
  enable(true);
} catch (error) {
  say("The model could not be loaded.");
  complain(error);
}

// The page: sends a recording to the API, and shows the text while it is decoded.

import { written } from "./subtitles.js";

const $ = (id) => document.getElementById(id);

let running = null; // the AbortController of the request
let result = null; // the last event of the stream, a response of the format verbose_json
let name = "";

function headers() {
  const key = $("key").value.trim();
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** Throws an error with the server's message if a response is none of success. */
async function check(response) {
  if (response.ok) return;
  const body = await response.json().catch(() => null);
  const error = new Error(body?.error?.message ?? `the server answered ${response.status}`);
  if (response.status === 401) {
    $("options").open = true;
    $("key").focus();
  }
  throw error;
}

/** Yields the objects of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line.slice("data: ".length));
  }
}

function form(file) {
  const body = new FormData();
  body.append("file", file);
  body.append("model", "whisper-1");
  body.append("response_format", "verbose_json");
  if ($("task").value === "transcriptions") {
    body.append("stream", "true");
    if ($("language").value) body.append("language", $("language").value);
  }
  if ($("prompt").value.trim()) body.append("prompt", $("prompt").value.trim());
  return body;
}

function show(state, status, detail = "") {
  document.body.dataset.state = state;
  $("status").textContent = status;
  $("detail").textContent = detail;
  $("cancel").hidden = state !== "busy";
  $("file").disabled = state === "busy";
  $("tools").hidden = state !== "done";
}

async function transcribe(file) {
  if (running) return;
  running = new AbortController();
  [result, name] = [null, file.name];
  $("error").hidden = true;
  $("name").textContent = file.name;
  $("text").textContent = "";
  $("result").hidden = false;
  show("busy", "Transcribing …");
  const started = performance.now();
  try {
    const request = { method: "POST", headers: headers(), body: form(file), signal: running.signal };
    const response = await fetch(`v1/audio/${$("task").value}`, request);
    await check(response);
    if (response.headers.get("Content-Type").startsWith("text/event-stream")) {
      for await (const event of events(response)) {
        if (event.error) throw new Error(event.error.message);
        if (event.type === "transcript.text.delta") $("text").append(event.delta);
        else result = event;
      }
    } else {
      result = await response.json();
    }
    if (!result) throw new Error("the connection was closed before the end of the text");
    delete result.type;
    $("text").textContent = result.text || "No speech was found.";
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    show("done", "Done", `${result.duration.toFixed(1)} s of sound in ${seconds} s`);
  } catch (error) {
    const cancelled = error.name === "AbortError";
    $("error").textContent = error.message;
    $("error").hidden = cancelled;
    show("ready", cancelled ? "Cancelled" : "Failed");
  } finally {
    running = null;
  }
}

function download(format) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([written(result, format)], { type: "text/plain" }));
  link.download = `${name.replace(/\.[^.]*$/, "")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Shows the model's name, and the languages that it knows. */
async function describe() {
  const health = await (await fetch("health")).json();
  $("model").textContent = health.model;
  const { components } = await (await fetch("openapi.json")).json();
  const names = new Intl.DisplayNames(["en"], { type: "language" });
  const codes = components.schemas.Language.enum.filter((code) => code.length <= 3);
  const known = codes.map((code) => [names.of(code), code]).sort(([a], [b]) => a.localeCompare(b));
  for (const [label, code] of known) $("language").append(new Option(label, code));
}

$("file").addEventListener("change", () => {
  if ($("file").files.length) transcribe($("file").files[0]);
  $("file").value = ""; // the same file can be chosen again
});
$("cancel").addEventListener("click", () => running?.abort());
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(result.text);
  $("status").textContent = "Copied";
});
$("tools").addEventListener("click", ({ target }) => {
  if (target.dataset.format) download(target.dataset.format);
});
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  if (event.dataTransfer.files.length) transcribe(event.dataTransfer.files[0]);
});

await describe();
document.body.dataset.loaded = "true";

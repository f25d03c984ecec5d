// The microphone: words appear while somebody speaks, and the recording is kept for the player.

import { $, create } from "./dom.js";
import { clock } from "./format.js";

const PAUSE = 1.0; // seconds without a word after which a new segment begins
const LONG = 6.0; // seconds after which a sentence's end begins one too

// Group words into segments like those of a transcription.
function toSegments(words) {
  const segments = [];
  for (const word of words) {
    const last = segments.at(-1);
    const isNew =
      !last ||
      word.start - last.end > PAUSE ||
      (last.end - last.start > LONG && /[.!?。！？]$/.test(last.words.at(-1).word));
    if (isNew) segments.push({ id: segments.length, start: word.start, end: word.end, text: "", words: [] });
    const segment = segments.at(-1);
    segment.words.push(word);
    segment.text += word.word;
    segment.end = word.end;
  }
  return segments;
}

// The space before a text, and the text as an element: the space is not underlined.
function separateSpace(text) {
  const shown = text.trimStart();
  return [text.slice(0, text.length - shown.length), ...(shown ? [create("span", {}, shown)] : [])];
}

// Show the sound's level on the meter until the returned function is called.
function showLevel(stream) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, { fftSize: 1024 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let level = 0;
  let frame;
  const show = () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    const decibels = 10 * Math.log10(power + 1e-10);
    level = Math.max(Math.min(1, Math.max(0, (decibels + 60) / 50)), level * 0.9);
    $("level").style.setProperty("--level", level.toFixed(3));
    frame = requestAnimationFrame(show);
  };
  show();
  return () => {
    cancelAnimationFrame(frame);
    context.close();
  };
}

/** A recording from the microphone, with captions. */
export class LiveCaptions {
  #settled = []; // words
  #isStopped = false;
  #texts = null;
  #stream = null;

  /** The words that are final, as segments. */
  get segments() {
    return toSegments(this.#settled);
  }

  /** End the recording. */
  stop() {
    this.#isStopped = true;
    this.#texts?.stop();
    this.#stream?.getTracks().forEach((track) => track.stop());
  }

  /**
   * Record until `stop` is called, and show the words. Resolves with the recording, a File.
   *
   * `whisper` is a Whisper, `options` those of its `live`; `onStart()` is called once the microphone is open.
   */
  async run(whisper, options, onStart) {
    $("settled").replaceChildren();
    $("tentative").replaceChildren();
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const pieces = [];
    const recorder = new MediaRecorder(this.#stream);
    recorder.ondataavailable = ({ data }) => pieces.push(data);
    const recorded = new Promise((done) => (recorder.onstop = done));
    recorder.start();
    const began = performance.now();
    const stopLevel = showLevel(this.#stream);
    const showTime = () => ($("live-time").textContent = clock((performance.now() - began) / 1000));
    const timer = setInterval(showTime, 250);
    showTime();
    onStart();
    try {
      if (this.#isStopped) this.stop();
      else await this.#caption(whisper.live(this.#stream, options));
    } finally {
      clearInterval(timer);
      stopLevel();
      this.stop();
      if (recorder.state !== "inactive") recorder.stop();
      await recorded;
    }
    const time = new Date().toLocaleString("sv").slice(0, 16).replace(":", "."); // such as 2026-11-29 14.30
    return new File(pieces, `recording ${time}`, { type: recorder.mimeType });
  }

  async #caption(texts) {
    this.#texts = texts;
    for await (const { settled, settledText, tentativeText } of texts) {
      this.#settled.push(...settled);
      if (settledText) $("settled").append(create("span", {}, settledText));
      $("tentative").replaceChildren(...separateSpace(tentativeText));
      $("captions").scrollTop = $("captions").scrollHeight;
    }
  }
}

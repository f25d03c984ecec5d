// The player: a button, the waveform as a slider, and the time. The browser's own controls are not shown.

import { $, setIcon } from "./dom.js";
import { clock } from "./format.js";
import { Waveform } from "./waveform.js";

const STEP = 5; // seconds by which an arrow key moves
const PATIENCE = 1000; // milliseconds in which the browser should tell whether it can play a recording

export class Player {
  #audio = $("audio");
  #slider = $("slider");
  #waveform = new Waveform($("wave"));
  #duration = 0; // seconds
  #isDragging = false;

  /** `onMove(seconds, isPlaying)` is called whenever the position changes, and when playing begins or ends. */
  constructor(onMove) {
    this.onMove = onMove;
    const audio = this.#audio;
    $("play").onclick = () => this.toggle();
    audio.onplay = () => {
      this.#showPlaying();
      this.#follow();
    };
    audio.onpause = () => this.#showPlaying();
    audio.onseeked = audio.ontimeupdate = () => this.#show();
    this.#slider.onpointerdown = (event) => this.#drag(event);
    this.#slider.onpointermove = (event) => this.#isDragging && this.#moveTo(event);
    this.#slider.onpointerup = this.#slider.onpointercancel = () => (this.#isDragging = false);
    this.#slider.onkeydown = (event) => this.#press(event);
  }

  /**
   * Show a recording: a Blob, its duration in seconds, and its peaks. If the browser cannot play it, `convert()`
   * returns one that it can. Resolves once that is known.
   */
  async open(blob, duration, peaks, convert) {
    this.close();
    this.#duration = duration;
    this.#waveform.peaks = peaks;
    this.#slider.setAttribute("aria-valuemax", duration.toFixed(1));
    $("player").hidden = false;
    if (!(await this.#load(blob))) await this.#load(convert());
    this.#show();
  }

  // Resolves with false if the browser cannot play the recording; a browser that does not tell is not waited for.
  #load(blob) {
    if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
    this.#audio.src = URL.createObjectURL(blob);
    return new Promise((done) => {
      this.#audio.onloadedmetadata = () => done(true);
      this.#audio.onerror = () => done(false);
      setTimeout(() => done(true), PATIENCE);
    });
  }

  close() {
    $("player").hidden = true;
    this.#audio.pause();
    this.#audio.onerror = this.#audio.onloadedmetadata = null;
    if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
    this.#audio.removeAttribute("src");
  }

  /** Mark seconds of the recording as transcribed. */
  cover(start, end) {
    this.#waveform.cover(start / this.#duration, end / this.#duration);
  }

  toggle() {
    if (this.#audio.paused) this.#play();
    else this.#audio.pause();
  }

  /** Play from a time in seconds. */
  playFrom(time) {
    this.seek(time);
    this.#play();
  }

  seek(time) {
    this.#audio.currentTime = Math.min(Math.max(0, time), this.#duration);
    this.#show();
  }

  #play() {
    this.#audio.play().catch(() => {}); // the browser cannot play the format, or `pause` came first
  }

  #showPlaying() {
    const isPlaying = !this.#audio.paused;
    setIcon($("play"), isPlaying ? "pause" : "play");
    $("play").setAttribute("aria-label", isPlaying ? "Pause" : "Play");
    this.#show();
  }

  // `timeupdate` comes four times a second: too seldom to follow words.
  #follow() {
    this.#show();
    if (!this.#audio.paused) requestAnimationFrame(() => this.#follow());
  }

  #show() {
    const now = this.#audio.currentTime;
    const text = `${clock(now)} of ${clock(this.#duration)}`;
    this.#waveform.position = this.#duration ? Math.min(1, now / this.#duration) : 0;
    this.#slider.setAttribute("aria-valuenow", now.toFixed(1));
    this.#slider.setAttribute("aria-valuetext", text);
    $("time").textContent = `${clock(now)} / ${clock(this.#duration)}`;
    this.onMove(now, !this.#audio.paused);
  }

  #drag(event) {
    this.#isDragging = true;
    this.#slider.setPointerCapture(event.pointerId);
    this.#moveTo(event);
  }

  #moveTo({ clientX }) {
    const { left, width } = this.#slider.getBoundingClientRect();
    this.seek(((clientX - left) / width) * this.#duration);
  }

  #press(event) {
    const now = this.#audio.currentTime;
    const targets = {
      ArrowLeft: now - STEP,
      ArrowDown: now - STEP,
      ArrowRight: now + STEP,
      ArrowUp: now + STEP,
      PageDown: now - 6 * STEP,
      PageUp: now + 6 * STEP,
      Home: 0,
      End: this.#duration,
    };
    if (event.key === " " || event.key === "Enter") this.toggle();
    else if (event.key in targets) this.seek(targets[event.key]);
    else return;
    event.preventDefault();
  }
}

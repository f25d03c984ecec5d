// The recording's waveform: bars for loudness, colored by what was transcribed and what was played.

const BARS = 2000; // of the waveform that is computed; fewer are drawn
const SLICE = 20; // milliseconds of computation before the page may react
const [BAR, GAP] = [2, 1]; // CSS pixels

/** Return the largest absolute value in each of up to BARS parts of the samples, without blocking the page. */
export async function findPeaks(samples) {
  const found = new Float32Array(Math.min(BARS, samples.length));
  let end = performance.now() + SLICE;
  for (let i = 0; i < found.length; i++) {
    const stop = Math.floor(((i + 1) / found.length) * samples.length);
    for (let j = Math.floor((i / found.length) * samples.length); j < stop; j++) {
      found[i] = Math.max(found[i], Math.abs(samples[j]));
    }
    if (performance.now() < end) continue;
    await new Promise((done) => setTimeout(done));
    end = performance.now() + SLICE;
  }
  return found;
}

/** A waveform on a canvas. */
export class Waveform {
  #canvas;
  #peaks = new Float32Array(0);
  #spoken = new Uint8Array(0); // for each peak, whether a segment covers it
  #loudest = 1;
  #position = 0;
  #isDue = false;
  #colors = null;

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#schedule()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colors = null;
      this.#schedule();
    });
  }

  /** Show another recording. */
  set peaks(peaks) {
    this.#peaks = peaks;
    this.#spoken = new Uint8Array(peaks.length);
    this.#loudest = peaks.reduce((a, b) => Math.max(a, b), 1e-4);
    this.#position = 0;
    this.#schedule();
  }

  /** Mark a part as transcribed; `begin` and `end` are shares of the duration. */
  cover(begin, end) {
    this.#spoken.fill(1, Math.floor(begin * this.#peaks.length), Math.ceil(end * this.#peaks.length));
    this.#schedule();
  }

  /** Set the playhead, as a share of the duration. */
  set position(share) {
    this.#position = share;
    this.#schedule();
  }

  // Draw before the next frame, once however often this is called.
  #schedule() {
    if (!this.#isDue) requestAnimationFrame(() => this.#draw());
    this.#isDue = true;
  }

  #draw() {
    this.#isDue = false;
    const canvas = this.#canvas;
    if (!this.#peaks.length || !canvas.clientWidth) return;
    const scale = devicePixelRatio;
    const width = (canvas.width = Math.round(canvas.clientWidth * scale));
    const height = (canvas.height = Math.round(canvas.clientHeight * scale));
    const context = canvas.getContext("2d");
    this.#colors ??= ["--wave-played", "--wave-spoken", "--wave-silent", "--ink"].map(resolveColor);
    const [played, spoken, silent, head] = this.#colors;
    const step = Math.round((BAR + GAP) * scale);
    const playhead = this.#position * width;
    for (let x = 0; x < width; x += step) {
      const begin = Math.floor((x / width) * this.#peaks.length);
      const end = Math.max(begin + 1, Math.ceil(((x + step) / width) * this.#peaks.length));
      const top = this.#peaks.subarray(begin, end).reduce((a, b) => Math.max(a, b), 0);
      const barHeight = Math.max(2 * scale, Math.sqrt(top / this.#loudest) * height * 0.94);
      const isSpoken = this.#spoken.subarray(begin, end).includes(1);
      context.fillStyle = x + step / 2 < playhead ? played : isSpoken ? spoken : silent;
      context.beginPath();
      context.roundRect(x, (height - barHeight) / 2, BAR * scale, barHeight, (BAR * scale) / 2);
      context.fill();
    }
    if (this.#position > 0) {
      context.fillStyle = head;
      context.fillRect(Math.min(width - 2 * scale, playhead - scale), 0, 2 * scale, height);
    }
  }
}

// The computed value of a custom property: a canvas does not understand light-dark().
function resolveColor(property) {
  const probe = document.createElement("span");
  probe.style.color = `var(${property})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

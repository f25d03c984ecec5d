// Live transcription: the text of sound that is still arriving, from a MediaStream or from blocks of samples.

import { record } from "./microphone.js";
import { Queue } from "./queue.js";

const join = (words) => words.map(({ word }) => word).join("");

// The counterpart of `record` for an iterable of blocks, whose rate is an option.
function follow(iterable) {
  let stop;
  const stopped = new Promise((done) => (stop = () => done({ done: true })));
  async function* blocks() {
    const iterator = (iterable[Symbol.asyncIterator] ?? iterable[Symbol.iterator]).call(iterable);
    try {
      for (;;) {
        const { value, done } = await Promise.race([iterator.next(), stopped]);
        if (done) return;
        yield value.slice();
      }
    } finally {
      iterator.return?.();
    }
  }
  return { blocks: blocks(), stop };
}

/** An async iterable of the texts; see `Whisper.live`. */
export class LiveTranscription {
  #texts;
  #isStopped = false;
  #stopSource = null;

  /**
   * `run(signal, body)` calls `body(call)` when the worker is free; `call(type, message, transfer)` sends a request to
   * the worker.
   */
  constructor(source, options, signal, run) {
    this.#texts = this.#transcribe(source, options, signal, run);
  }

  [Symbol.asyncIterator]() {
    return this.#texts;
  }

  /** End the sound. The iteration ends once its last words are there. */
  stop() {
    this.#isStopped = true;
    this.#stopSource?.();
  }

  async *#transcribe(given, options, outerSignal, run) {
    outerSignal?.throwIfAborted();
    const isStream = typeof given.getAudioTracks === "function";
    const { blocks, stop, rate } = isStream ? await record(given) : follow(given);
    this.#stopSource = stop;
    if (this.#isStopped) stop();
    const left = new AbortController(); // aborted when the loop over the texts is left
    const signal = AbortSignal.any([left.signal, outerSignal].filter(Boolean));
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    const texts = new Queue();
    const work = run(signal, async (call) => {
      let shown = "";
      const take = ({ settled, tentative }) => {
        const [settledText, tentativeText] = [settled, tentative].map(join);
        if (!settled.length && tentativeText === shown) return;
        shown = tentativeText;
        texts.push({ settled, tentative, settledText, tentativeText });
      };
      await call("liveStart", { options: isStream ? { ...options, sampling_rate: rate } : options });
      for await (const samples of blocks) {
        signal.throwIfAborted();
        take(await call("livePush", { samples }, [samples.buffer]));
      }
      signal.throwIfAborted();
      take(await call("liveFinish"));
    }).then(
      () => texts.end(),
      (error) => texts.end(error),
    );
    try {
      yield* texts;
    } finally {
      left.abort();
      stop();
      await work;
    }
  }
}

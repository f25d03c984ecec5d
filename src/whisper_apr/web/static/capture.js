// The audio worklet behind microphone.js: it posts the sound of its input in blocks of mono samples.

registerProcessor(
  "whisper-apr-capture",
  class extends AudioWorkletProcessor {
    #block;
    #filled = 0;

    constructor({ processorOptions }) {
      super();
      this.#block = new Float32Array(processorOptions.size);
    }

    process([[channel]]) {
      for (let rest = channel; rest?.length; ) {
        const some = rest.subarray(0, this.#block.length - this.#filled);
        this.#block.set(some, this.#filled);
        this.#filled += some.length;
        rest = rest.subarray(some.length);
        if (this.#filled < this.#block.length) continue;
        this.port.postMessage(this.#block); // copies it
        this.#filled = 0;
      }
      return true;
    }
  },
);

// Values that callbacks produce, for an async iterator that consumes them.

export class Queue {
  #items = [];
  #isEnded = false;
  #error = null;
  #wake = () => {};

  push(item) {
    if (this.#isEnded) return;
    this.#items.push(item);
    this.#wake();
  }

  /** Add nothing more. With an error, the iteration throws it after the items that are left. */
  end(error = null) {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    this.#wake();
  }

  /** Return all items that are there, at least one; null after the end. */
  async takeAll() {
    while (!this.#items.length && !this.#isEnded) await new Promise((done) => (this.#wake = done));
    if (this.#items.length) return this.#items.splice(0);
    if (this.#error) throw this.#error;
    return null;
  }

  async *[Symbol.asyncIterator]() {
    for (let items; (items = await this.takeAll()); ) yield* items;
  }
}

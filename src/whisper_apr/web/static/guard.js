// Watch the files that Pyodide loads. If one is missing, truncated, of another kind, or stops arriving, Pyodide may
// wait forever, or report it only in the console. While a Guard watches, fetch and WebAssembly.instantiateStreaming
// are therefore replaced by versions that detect such failures.

import { Watchdog } from "./download.js";

export class Guard {
  #watchdog;
  #original = { fetch: self.fetch, instantiateStreaming: WebAssembly.instantiateStreaming };
  #onProgress;
  #provided = new Map(); // bytes by URL, or promises of them
  #loaded = 0;
  #waitingFor;
  #fail;

  /** Watch until `stop` is called. `onProgress(loaded)` is called with the bytes received so far. */
  constructor(timeout, onProgress) {
    this.#onProgress = onProgress;
    /** Rejected if a file cannot be loaded. */
    this.failed = new Promise((_, reject) => (this.#fail = reject));
    this.failed.catch(() => {}); // also handled by whoever awaits it, but perhaps later
    /** Whether the reason was the transfer or the file. */
    this.isTransfer = false;
    this.#watchdog = new Watchdog(timeout);
    this.#watchdog.signal.addEventListener("abort", ({ target: { reason } }) =>
      this.fail(`${this.#waitingFor}: ${reason.message}; check the connection, and try again`),
    );
    self.fetch = (source, options) => this.#fetch(source, options);
    WebAssembly.instantiateStreaming = (source, imports) => this.#instantiate(source, imports);
  }

  stop() {
    this.#watchdog.stop();
    self.fetch = this.#original.fetch;
    WebAssembly.instantiateStreaming = this.#original.instantiateStreaming;
  }

  /** Respond to requests for a URL with these bytes, or those that a promise will give. */
  provide(url, bytes) {
    this.#provided.set(url, bytes);
    Promise.resolve(bytes).catch(() => {}); // also handled by whoever requests it, but perhaps later
  }

  /** Begin to wait for a file, or note that bytes of it have arrived. */
  alive(url, bytes = 0) {
    this.#waitingFor = url;
    this.#watchdog.alive();
    this.#onProgress((this.#loaded += bytes));
  }

  /** Reject `failed`, and return the error. */
  fail(message, isTransfer = true) {
    const error = new Error(message);
    this.isTransfer ||= isTransfer;
    this.#fail(error); // Pyodide may ignore the one that is thrown
    return error;
  }

  /** Import a module. */
  async import(url) {
    this.alive(url);
    const module = await import(url).catch((error) => {
      throw this.fail(`${url}: it could not be loaded (${error.message})`);
    });
    this.alive(url);
    return module;
  }

  /** Return a file's bytes. */
  async read(url) {
    return new Uint8Array(await (await this.#fetch(url)).arrayBuffer());
  }

  async #fetch(source, options) {
    const url = new URL(source.url ?? source, self.location.href).href;
    if (this.#provided.has(url)) return new Response(await this.#provided.get(url));
    this.alive(url);
    const response = await this.#original.fetch.call(self, source, options).catch((error) => {
      throw this.fail(`${url}: it could not be loaded (${error.message})`);
    });
    if (!response.ok) {
      throw this.fail(`${url}: the server responded with ${response.status} ${response.statusText}`.trim());
    }
    const reader = response.body.getReader();
    const pull = async (controller) => {
      try {
        const { value, done } = await reader.read();
        if (done) return controller.close();
        this.alive(url, value.length);
        controller.enqueue(value);
      } catch (error) {
        throw this.fail(`${url}: the transfer was interrupted (${error.message})`);
      }
    };
    const { status, statusText, headers } = response;
    const watched = new Response(new ReadableStream({ pull }), { status, statusText, headers });
    return Object.defineProperty(watched, "url", { value: url });
  }

  async #instantiate(source, imports) {
    const response = await source;
    const { instantiateStreaming } = this.#original;
    try {
      const isTyped = /^application\/wasm\s*(;|$)/i.test(response.headers.get("content-type") ?? "");
      if (isTyped) return await instantiateStreaming.call(WebAssembly, response, imports);
      return await WebAssembly.instantiate(await response.arrayBuffer(), imports); // some servers do not know the type
    } catch (error) {
      if (error instanceof RangeError) throw this.fail(`there is not enough memory (${error.message})`, false);
      throw this.fail(`${response.url}: it is damaged, incomplete or not WebAssembly (${error.message})`);
    }
  }
}

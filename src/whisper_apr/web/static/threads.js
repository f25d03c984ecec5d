// Several threads for the kernels, in a page that is cross-origin isolated.
//
// Pyodide's WebAssembly modules declare a memory that belongs to one thread. Here they are changed, before they are
// compiled, to declare it as shared. Other web workers (thread.js) then instantiate the compiled extension on the same
// memory, and take part in the kernels' work: neither weights nor activations are copied.

const MEMORY_LIMIT = 65536; // pages of 64 KiB, as in Pyodide
const STACK = 128 << 10; // bytes of each thread's stack
const SECTION = { imports: 2, memory: 5 };
const KIND = { function: 0, table: 1, memory: 2, global: 3, tag: 4 };

// ---- WebAssembly's binary format ------------------------------------------------------------------------------------

class Reader {
  constructor(bytes, at = 0) {
    this.bytes = bytes;
    this.at = at;
  }

  byte() {
    if (this.at >= this.bytes.length) throw new Error("a WebAssembly module is truncated");
    return this.bytes[this.at++];
  }

  /** Read an unsigned LEB128 number. */
  number() {
    for (let value = 0, scale = 1; ; scale *= 128) {
      const byte = this.byte();
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  }

  skip(n) {
    this.at += n;
  }

  skipLimits() {
    const flags = this.number();
    this.number();
    if (flags & 1) this.number();
  }
}

function encode(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value & 127) | 128);
  return [...bytes, value];
}

// Return the section with the limits of the memory at `at` changed to those of a shared memory.
function shareLimits(section, at) {
  const reader = new Reader(section, at);
  const flags = reader.number();
  const least = reader.number();
  const most = flags & 1 ? reader.number() : MEMORY_LIMIT;
  return [...section.subarray(0, at), 3, ...encode(least), ...encode(most), ...section.subarray(reader.at)];
}

// Return where the limits of the memory that a module imports are in its import section; undefined if it has none.
function findImportedMemory(section) {
  const reader = new Reader(section);
  for (let left = reader.number(); left > 0; left--) {
    reader.skip(reader.number()); // the names of the module and of the import
    reader.skip(reader.number());
    const kind = reader.byte();
    if (kind === KIND.memory) return reader.at;
    reader.skip({ [KIND.function]: 0, [KIND.table]: 1, [KIND.global]: 2, [KIND.tag]: 1 }[kind]);
    if (kind === KIND.table) reader.skipLimits();
    if (kind === KIND.function || kind === KIND.tag) reader.number();
  }
}

/** Return a WebAssembly module's bytes with its memory, if it has one, declared as shared. */
function declareShared(source) {
  const bytes = ArrayBuffer.isView(source)
    ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
    : new Uint8Array(source);
  const reader = new Reader(bytes, 8);
  while (reader.at < bytes.length) {
    const begin = reader.at;
    const id = reader.byte();
    const size = reader.number();
    const section = bytes.subarray(reader.at, reader.at + size);
    reader.skip(size);
    const at = id === SECTION.memory && size > 1 ? 1 : id === SECTION.imports ? findImportedMemory(section) : undefined;
    if (at === undefined) continue;
    const shared = shareLimits(section, at);
    const head = [id, ...encode(shared.length)];
    const result = new Uint8Array(begin + head.length + shared.length + bytes.length - reader.at);
    result.set(bytes.subarray(0, begin));
    result.set(head, begin);
    result.set(shared, begin + head.length);
    result.set(bytes.subarray(reader.at), begin + head.length + shared.length);
    return result;
  }
  return bytes;
}

/**
 * From now on, declare the memory of every WebAssembly module that this worker compiles as shared, and let those
 * functions of the browser that refuse shared memory work on a copy. Returns a function that ends this.
 */
export function shareMemory() {
  const { instantiate, instantiateStreaming, compile, Module } = WebAssembly;
  const prepare = (source) => (source instanceof Module ? source : declareShared(source));
  WebAssembly.instantiate = (source, ...rest) => instantiate.call(WebAssembly, prepare(source), ...rest);
  WebAssembly.compile = (source, ...rest) => compile.call(WebAssembly, prepare(source), ...rest);
  WebAssembly.Module = new Proxy(Module, {
    construct: (target, [source, ...rest], self) => Reflect.construct(target, [prepare(source), ...rest], self),
  });
  WebAssembly.instantiateStreaming = async (response, ...rest) =>
    WebAssembly.instantiate(await (await response).arrayBuffer(), ...rest);

  const isShared = (view) => view?.buffer instanceof SharedArrayBuffer;
  const { decode } = TextDecoder.prototype;
  TextDecoder.prototype.decode = function (view, ...rest) {
    return decode.call(this, isShared(view) ? view.slice() : view, ...rest);
  };
  const { getRandomValues } = Crypto.prototype;
  Crypto.prototype.getRandomValues = function (view) {
    if (!isShared(view)) return getRandomValues.call(this, view);
    view.set(getRandomValues.call(this, new view.constructor(view.length)));
    return view;
  };
  return () => {
    Object.assign(WebAssembly, { instantiate, instantiateStreaming, compile, Module });
    Object.assign(TextDecoder.prototype, { decode });
    Object.assign(Crypto.prototype, { getRandomValues });
  };
}

// ---- threads --------------------------------------------------------------------------------------------------------

/** Return how many threads can be used of the `wanted` ones: 1 where memory cannot be shared. */
export function countThreads(wanted) {
  if (wanted === 1 || !self.crossOriginIsolated || !self.SharedArrayBuffer) return 1;
  try {
    new WebAssembly.Memory({ initial: 1, maximum: MEMORY_LIMIT, shared: true });
    return wanted;
  } catch {
    return 1; // the browser lacks the address space, or shared memory in WebAssembly
  }
}

// The sizes at the start of a module for dynamic linking: bytes and alignment of its static data, number of functions.
function readSizes(module) {
  const reader = new Reader(new Uint8Array(WebAssembly.Module.customSections(module, "dylink.0")[0]));
  reader.skip(2); // the part's number and its size, less than 128
  return { size: reader.number(), alignment: 2 ** reader.number(), functions: reader.number() };
}

/** Create the web worker of a thread, also if this script was loaded from another origin. */
function createWorker() {
  const place = new URL("./thread.js", import.meta.url).href;
  if (new URL(place).origin === self.location.origin) return new Worker(place, { type: "module" });
  const source = URL.createObjectURL(new Blob([`import ${JSON.stringify(place)};`], { type: "text/javascript" }));
  return new Worker(source, { type: "module" });
}

/**
 * Start threads for the kernels of a Python whose memory is shared (`shareMemory`), and let the kernels use them.
 *
 * `n` is the number of all threads, including this one. Returns the web workers of the others. If one does not start,
 * or not within `timeout` milliseconds, an error is thrown, and the kernels use this thread alone.
 */
export async function startThreads(python, n, timeout, create = createWorker) {
  const [path, { exports: kernels }] = Object.entries(python._module.LDSO.loadedLibsByName).find(([name]) =>
    name.includes("/whisper_apr/_simd/_kernels"),
  );
  const module = await WebAssembly.compile(python.FS.readFile(path));
  const { size, alignment, functions } = readSizes(module);
  const workers = Array.from({ length: n - 1 }, create);
  const start = (worker, i) =>
    new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`a thread did not start within ${timeout / 1000} s`)), timeout);
      worker.onmessage = () => {
        clearTimeout(timer);
        done();
      };
      worker.onerror = ({ message }) => {
        clearTimeout(timer);
        fail(new Error(message || "a thread's worker could not be loaded"));
      };
      const begin = kernels.apr_reserve(size + alignment + STACK) >>> 0;
      if (!begin) throw new Error("there is not enough memory for another thread");
      worker.postMessage({
        module,
        functions,
        memory: python._module.wasmMemory ?? python._module.memory,
        pool: kernels.apr_pool(),
        functionAddress: kernels.apr_function_address(),
        data: Math.ceil(begin / alignment) * alignment,
        stack: Math.floor((begin + size + alignment + STACK) / 16) * 16,
        slot: i + 1,
      });
    });
  try {
    await Promise.all(workers.map(start));
  } catch (error) {
    for (const worker of workers) worker.terminate();
    throw error;
  }
  kernels.apr_add_workers(n - 1);
  python.runPython(`from whisper_apr import simd; simd.set_num_threads(${n})`);
  return workers;
}

// Download a file in pieces: from Cache Storage what was downloaded before, the rest with HTTP range requests. After an
// error the download resumes where it stopped.

const CACHE = "whisper-apr-models";
const PART = 4 << 20; // bytes per entry of the cache
const PIECE = 64 << 10; // bytes read at a time
const RETRIES = 5; // consecutive ones without a byte received
const FIRST_PAUSE = 300; // milliseconds before the first retry; doubled before each further one

export const TIMEOUT = 60_000; // milliseconds without a byte received, after which a transfer is given up

const partURL = (url, i) => `${url}${url.includes("?") ? "&" : "?"}apr-part=${i}`;

/** Aborts its `signal` if `alive`, which starts it, is not called again for `timeout` milliseconds. */
export class Watchdog {
  #controller = new AbortController();
  #timer;

  constructor(timeout) {
    this.timeout = timeout;
    this.signal = this.#controller.signal;
  }

  alive() {
    clearTimeout(this.#timer);
    const error = new Error(`nothing was received for ${this.timeout / 1000} s`);
    this.#timer = setTimeout(() => this.#controller.abort(error), this.timeout);
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

/** Wait for an answer of Cache Storage, which has no time limit of its own, for at most `timeout` milliseconds. */
export async function answered(answer, timeout) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`the storage did not answer for ${timeout / 1000} s`)), timeout);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function openCache(timeout) {
  try {
    return await answered(caches.open(CACHE), timeout);
  } catch {
    return null; // not a secure context, or storage is disabled or does not answer: download without a cache
  }
}

/** Delete the file's parts from the cache. */
export async function forget(url, timeout = TIMEOUT) {
  const cache = await openCache(timeout);
  for (let i = 0; cache && (await answered(cache.delete(partURL(url, i)), timeout)); i++);
}

/** Return the bytes of the file that are in the cache, and whether they are the whole file. */
export async function findStored(url) {
  const { parts, isComplete } = await readCache(await openCache(TIMEOUT), url, TIMEOUT);
  const last = await parts.at(-1)?.blob();
  return { bytes: last ? (parts.length - 1) * PART + last.size : 0, isComplete };
}

/**
 * Return the cached responses in order, what is known about the file (as `describe` returns it), and whether all of it
 * is there. Without a cached part, `known` is null.
 */
async function readCache(cache, url, timeout) {
  const parts = [];
  let known = null;
  let isComplete = false;
  const next = () => answered(cache.match(partURL(url, parts.length)), timeout);
  for (let response; cache && !isComplete && (response = await next()); ) {
    const { isLast, ...about } = JSON.parse(response.headers.get("x-apr"));
    if (known && about.tag !== known.tag) break;
    known = about;
    isComplete = isLast ?? false;
    parts.push(response);
  }
  return { parts, known, isComplete };
}

// Collects pieces into parts of PART bytes, and stores each in the cache.
class CacheWriter {
  constructor(cache, url, timeout, about, first) {
    Object.assign(this, { cache, url, timeout, about, index: first, filled: 0, part: null });
    if (!about.tag) this.cache = null; // changes of the file could not be detected later
  }

  async add(piece) {
    for (let rest = piece; this.cache && rest.length; ) {
      if (this.filled === PART) await this.#put(false);
      this.part ??= new Uint8Array(PART);
      const some = rest.subarray(0, PART - this.filled);
      this.part.set(some, this.filled);
      this.filled += some.length;
      rest = rest.subarray(some.length);
    }
  }

  /** Store the last part. */
  async finish() {
    if (this.cache) await this.#put(true);
  }

  async #put(isLast) {
    const headers = { "x-apr": JSON.stringify({ ...this.about, isLast }) };
    const body = (this.part ?? new Uint8Array(0)).subarray(0, this.filled);
    try {
      await answered(this.cache.put(partURL(this.url, this.index), new Response(body, { headers })), this.timeout);
    } catch {
      this.cache = null; // the storage is full or does not answer: continue without a cache
    }
    this.index++;
    this.filled = 0;
    this.part = null;
  }
}

// Yield the body in pieces of at most PIECE bytes. A piece is valid until the next one is read.
async function* readPieces(body) {
  let reader, view;
  try {
    reader = body.getReader({ mode: "byob" }); // reads into the same buffer each time
    view = new Uint8Array(PIECE);
  } catch {
    reader = body.getReader();
  }
  try {
    for (;;) {
      const { value, done } = view ? await reader.read(view) : await reader.read();
      if (done) return;
      for (let i = 0; i < value.length; i += PIECE) yield value.subarray(i, i + PIECE);
      if (view) view = new Uint8Array(value.buffer, 0, PIECE);
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/**
 * Describe the file that a response is about: `tag`, its ETag or else the time of its last change, or null; `length`,
 * its size as transferred, or null; `isEncoded`, whether that is the size of a compressed form; `total`, its size, or
 * null if that is unknown.
 */
export function describe({ headers }) {
  const range = /\/(\d+)$/.exec(headers.get("content-range") ?? "");
  const length = Number(range ? range[1] : headers.get("content-length")) || null;
  // The strong and the weak ETag are treated alike: a file with other bytes is noticed, because its blocks are checked.
  const tag = headers.get("etag")?.replace(/^W\//, "") ?? headers.get("last-modified");
  const isEncoded = !["identity", null].includes(headers.get("content-encoding"));
  return { tag, length, isEncoded, total: isEncoded ? null : length };
}

export const isSame = (a, b) => a.tag === b.tag && (a.length === b.length || a.length === null || b.length === null);

/** Return whether the server has a different file now. If it cannot be reached, the cached one is used. */
async function isStale(url, known, signal, timeout) {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(timeout)]);
  try {
    const response = await fetch(url, { method: "HEAD", signal: limited, cache: "no-store" });
    return response.ok && !isSame(describe(response), known);
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

const permanent = (message) => Object.assign(new Error(message), { isPermanent: true });

// Throw an error for a response without the file; it is permanent if a retry cannot help.
function checkStatus(url, response) {
  if (response.ok) return;
  const message = `${url}: the server responded with ${response.status} ${response.statusText}`.trim();
  throw response.status < 500 && ![408, 416, 429].includes(response.status) ? permanent(message) : new Error(message);
}

function pause(milliseconds, signal) {
  return new Promise((done, fail) => {
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      fail(signal.reason);
    });
  });
}

/**
 * Call `start(total)` with the file's size, or null if it is unknown, then `write(piece)` with every piece in order. If
 * the file on the server changes in the meantime, or a transfer cannot be resumed, `start` is called again, and the
 * pieces begin anew. Errors of `start` and `write` end the download. A transfer from which nothing is received for
 * `timeout` milliseconds counts as interrupted.
 */
export async function download(url, { start, write, signal, timeout = TIMEOUT }) {
  let cache = await openCache(timeout);
  let { parts, known, isComplete } = await readCache(cache, url, timeout).catch(() => {
    cache = null;
    return readCache(null);
  });
  if (known && ((known.isEncoded && !isComplete) || (await isStale(url, known, signal, timeout)))) {
    await forget(url, timeout);
    [parts, known, isComplete] = [[], null, false];
  }
  let at = 0;
  const accept = async (piece) => {
    await write(piece);
    at += piece.length;
  };
  if (known) await start(known.total);
  for (const response of parts) for await (const piece of readPieces(response.body)) await accept(piece);
  let cacheWriter = known && new CacheWriter(cache, url, timeout, known, parts.length);

  let changes = 0;
  for (let failures = 0; !isComplete; ) {
    const before = at;
    let isCallback = false; // whether an error comes from `start` or `write`
    const watchdog = new Watchdog(timeout);
    watchdog.alive();
    try {
      // A compressed transfer cannot be resumed: a range would count compressed bytes. No If-Range, which would need
      // permission (CORS) from a server on another origin; the ETag is compared below.
      const headers = at && !known.isEncoded ? { Range: `bytes=${at}-` } : {};
      const limited = AbortSignal.any([signal, watchdog.signal]);
      const response = await fetch(url, { headers, signal: limited, cache: "no-store" });
      const now = describe(response);
      if (at && (response.status === 416 || (response.ok && !isSame(now, known)))) {
        await response.body?.cancel();
        await forget(url, timeout);
        [at, known] = [0, null];
        if (changes++) throw permanent(`${url}: the file on the server keeps changing; try again later`);
        throw new Error("the file changed");
      }
      checkStatus(url, response);
      if (!known || response.status !== 206) {
        [at, known] = [0, now];
        cacheWriter = new CacheWriter(cache, url, timeout, known, 0);
        isCallback = true;
        await start(known.total);
        isCallback = false;
      }
      for await (const piece of readPieces(response.body)) {
        watchdog.alive();
        // a server on another origin may hide that it compresses; the length is then that of the compressed form
        if (known.total !== null && at + piece.length > known.total) {
          Object.assign(known, { isEncoded: true, total: null });
        }
        await cacheWriter.add(piece);
        isCallback = true;
        await accept(piece);
        isCallback = false;
      }
      if (at < known.total) throw new Error(`the connection ended after ${at} of ${known.total} bytes`);
      await cacheWriter.finish();
      isComplete = true;
    } catch (caught) {
      const error = watchdog.signal.aborted && !isCallback ? watchdog.signal.reason : caught;
      if (isCallback || error.isPermanent || signal.aborted) throw error;
      failures = at > before ? 1 : failures + 1;
      if (failures > RETRIES) throw new Error(`${url}: it could not be downloaded (${error.message})`);
      await pause(FIRST_PAUSE * 2 ** (failures - 1), signal);
    } finally {
      watchdog.stop();
    }
  }
}

// Download a file in pieces: from Cache Storage what was downloaded before, the rest with HTTP range requests. After an
// error the download resumes where it stopped.

const CACHE = "whisper-apr-models";
const PART = 4 << 20; // bytes per entry of the cache
const PIECE = 64 << 10; // bytes read at a time
const RETRIES = 5; // consecutive ones without a byte received
const FIRST_PAUSE = 300; // milliseconds before the first retry; doubled before each further one

const partURL = (url, i) => `${url}${url.includes("?") ? "&" : "?"}apr-part=${i}`;

async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null; // not a secure context, or storage is disabled: download without a cache
  }
}

/** Delete the file's parts from the cache. */
export async function forget(url) {
  const cache = await openCache();
  for (let i = 0; cache && (await cache.delete(partURL(url, i))); i++);
}

/** Return the cached responses in order, and the file's size and ETag (`total`, `tag`) at the time, or null. */
async function readCache(cache, url) {
  const parts = [];
  let known = null;
  for (let response; cache && (response = await cache.match(partURL(url, parts.length))); ) {
    const about = JSON.parse(response.headers.get("x-apr"));
    if (known && about.tag !== known.tag) break;
    known = about;
    parts.push(response);
  }
  return { parts, known };
}

// Collects pieces into parts of PART bytes, and stores each complete part in the cache.
class CacheWriter {
  constructor(cache, url, about, first) {
    Object.assign(this, { cache, url, about, index: first, filled: 0, part: null });
    if (!about.tag) this.cache = null; // without an ETag, changes of the file could not be detected later
  }

  async add(piece) {
    for (let rest = piece; this.cache && rest.length; ) {
      this.part ??= new Uint8Array(Math.min(PART, this.about.total - this.index * PART));
      const some = rest.subarray(0, this.part.length - this.filled);
      this.part.set(some, this.filled);
      this.filled += some.length;
      rest = rest.subarray(some.length);
      if (this.filled === this.part.length) await this.#put();
    }
  }

  async #put() {
    const headers = { "x-apr": JSON.stringify(this.about) };
    try {
      await this.cache.put(partURL(this.url, this.index), new Response(this.part, { headers }));
    } catch {
      this.cache = null; // the storage is full: continue without a cache
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

// The size and the strong ETag of the file that a response is about; null for no or a weak ETag.
function describe(response) {
  const range = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const total = Number(range ? range[1] : response.headers.get("content-length"));
  const tag = response.headers.get("etag") ?? response.headers.get("last-modified");
  return { total, tag: tag?.startsWith("W/") ? null : tag };
}

/** Return whether the server has a different file now. If it cannot be reached, the cached one is used. */
async function isStale(url, known, signal) {
  try {
    const response = await fetch(url, { method: "HEAD", signal, cache: "no-store" });
    return response.ok && describe(response).tag !== known.tag;
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
 * Call `start(total)` with the file's size, then `write(piece)` with every piece in order. If the file on the server
 * changes in the meantime, `start` is called again, and the pieces begin anew. Errors of `start` and `write` end the
 * download.
 */
export async function download(url, { start, write, signal }) {
  const cache = await openCache();
  let { parts, known } = await readCache(cache, url);
  if (known && (await isStale(url, known, signal))) {
    await forget(url);
    [parts, known] = [[], null];
  }
  let at = 0;
  const accept = async (piece) => {
    await write(piece);
    at += piece.length;
  };
  if (known) await start(known.total);
  for (const response of parts) for await (const piece of readPieces(response.body)) await accept(piece);
  let cacheWriter = known && new CacheWriter(cache, url, known, parts.length);

  let changes = 0;
  for (let failures = 0; !known || at < known.total; ) {
    const before = at;
    let isCallback = false; // whether an error comes from `start` or `write`
    try {
      // no If-Range, which would need permission (CORS) from a server on another origin; the ETag is compared below
      const response = await fetch(url, { headers: at ? { Range: `bytes=${at}-` } : {}, signal, cache: "no-store" });
      const now = describe(response);
      if (at && (response.status === 416 || (response.ok && now.tag !== known.tag))) {
        await response.body?.cancel();
        await forget(url);
        [at, known] = [0, null];
        if (changes++) throw permanent(`${url}: the file on the server keeps changing; try again later`);
        throw new Error("the file changed");
      }
      checkStatus(url, response);
      if (!known || response.status !== 206) {
        if (!now.total) throw permanent(`${url}: the server sends no Content-Length, which is needed`);
        [at, known] = [0, now];
        cacheWriter = new CacheWriter(cache, url, known, 0);
        isCallback = true;
        await start(known.total);
        isCallback = false;
      }
      for await (const piece of readPieces(response.body)) {
        await cacheWriter.add(piece);
        isCallback = true;
        await accept(piece);
        isCallback = false;
      }
      if (at < known.total) throw new Error(`the connection ended after ${at} of ${known.total} bytes`);
    } catch (error) {
      if (isCallback || error.isPermanent || signal.aborted) throw error;
      failures = at > before ? 1 : failures + 1;
      if (failures > RETRIES) throw new Error(`${url}: the model could not be downloaded (${error.message})`);
      await pause(FIRST_PAUSE * 2 ** (failures - 1), signal);
    }
  }
}

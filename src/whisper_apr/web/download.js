// A model's file, piece by piece: from Cache Storage what was fetched before, the rest by range requests, taken up again where one broke.

const CACHE = "whisper-apr-models";
const PART = 4 << 20; // bytes of one entry in the cache
export const PIECE = 64 << 10; // bytes read at a time
const RETRIES = 5; // in a row, none of which brought a byte
const FIRST_PAUSE = 300; // milliseconds before the first retry; each of the next waits twice as long

const partURL = (url, i) => `${url}${url.includes("?") ? "&" : "?"}apr-part=${i}`;
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null; // no secure context, or storage is forbidden: then the network alone
  }
}

/** Forget what was stored of a model. */
export async function forget(url) {
  const cache = await openCache();
  for (let i = 0; cache && (await cache.delete(partURL(url, i))); i++);
}

async function storedParts(cache, url) {
  const parts = [];
  for (let response; cache && (response = await cache.match(partURL(url, parts.length))); ) {
    const about = JSON.parse(response.headers.get("x-apr") ?? "{}");
    if (parts.length && about.tag !== parts[0].about.tag) break;
    parts.push({ response, about });
  }
  return parts;
}

class Parts {
  // Gathers pieces into parts, and stores each as it is full.
  constructor(cache, url, first) {
    Object.assign(this, { cache, url, index: first, filled: 0, part: null });
  }

  async add(piece, about) {
    if (!this.cache || !about.tag) return; // what has no tag could not be taken up safely
    for (let rest = piece; rest.length; ) {
      this.part ??= new Uint8Array(Math.min(PART, about.total - this.index * PART));
      const some = rest.subarray(0, this.part.length - this.filled);
      this.part.set(some, this.filled);
      this.filled += some.length;
      rest = rest.subarray(some.length);
      if (this.filled < this.part.length) continue;
      const headers = { "x-apr": JSON.stringify(about) };
      try {
        await this.cache.put(partURL(this.url, this.index), new Response(this.part, { headers }));
      } catch {
        this.cache = null; // no room: go on without
        return;
      }
      this.index++;
      this.filled = 0;
      this.part = null;
    }
  }
}

async function* readPieces(body) {
  let reader, view;
  try {
    reader = body.getReader({ mode: "byob" });
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

function about(response, at) {
  const range = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const length = Number(response.headers.get("content-length"));
  const total = range ? Number(range[1]) : length || 0;
  const tag = response.headers.get("etag") ?? response.headers.get("last-modified");
  return { total, tag: tag?.startsWith("W/") ? null : tag, at };
}

/**
 * Call `take(piece)` with every piece of the file in order, `begin(total)` before the first one, and again, where the file changed on the
 * server while it was fetched, before it is begun anew.
 */
export async function download(url, { begin, take, signal }) {
  const cache = await openCache();
  const parts = await storedParts(cache, url);
  let at = 0;
  let known = parts[0]?.about;
  if (known) {
    await begin(known.total);
    for (const { response } of parts) {
      for await (const piece of readPieces(response.body)) {
        await take(piece);
        at += piece.length;
      }
    }
  }
  let store = new Parts(cache, url, parts.length);
  for (let failures = 0; !known || at < known.total; ) {
    const before = at;
    try {
      const headers = at ? { Range: `bytes=${at}-`, ...(known.tag ? { "If-Range": known.tag } : {}) } : {};
      const response = await fetch(url, { headers, signal, cache: "no-store" });
      if (!response.ok) {
        throw Object.assign(new Error(`${url}: the server answers ${response.status} ${response.statusText}`.trim()), {
          final: response.status < 500 && response.status !== 429 && response.status !== 408,
        });
      }
      const now = about(response, at);
      const goesOn = response.status === 206 && at > 0 && (!known.tag || now.tag === known.tag);
      if (!goesOn) {
        known = now;
        if (!known.total) throw Object.assign(new Error(`${url}: the server does not say how large the model is`), { final: true });
        if (at) await forget(url);
        at = 0;
        store = new Parts(cache, url, 0);
        await begin(known.total);
      }
      for await (const piece of readPieces(response.body)) {
        await store.add(piece, known);
        await take(piece);
        at += piece.length;
      }
      if (at < known.total) throw new Error(`${url}: the connection ended after ${at} of ${known.total} bytes`);
    } catch (error) {
      if (error.final || error.name === "AbortError" || error.fromTaker) throw error;
      failures = at > before ? 1 : failures + 1;
      if (failures > RETRIES) throw new Error(`${url}: the model could not be fetched: ${error.message}`);
      await pause(FIRST_PAUSE * 2 ** (failures - 1));
    }
  }
}

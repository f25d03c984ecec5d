// A model's file, piece by piece: from Cache Storage what was fetched before, the rest by range requests, taken up again where one broke.

const CACHE = "whisper-apr-models";
const PART = 4 << 20; // bytes of one entry in the cache
const PIECE = 64 << 10; // bytes read at a time
const RETRIES = 5; // in a row, none of which brought a byte
const FIRST_PAUSE = 300; // milliseconds before the first retry; each of the next waits twice as long

const partURL = (url, i) => `${url}${url.includes("?") ? "&" : "?"}apr-part=${i}`;

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

/** What is stored: responses in order, and what the server said of the file (`total`, `tag`) as they came. */
async function stored(cache, url) {
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

// Gathers pieces into parts, and stores each as it is full.
class Store {
  constructor(cache, url, about, first) {
    Object.assign(this, { cache, url, about, index: first, filled: 0, part: null });
    if (!about.tag) this.cache = null; // what has no tag could not be told from what the server has later
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
      this.cache = null; // no room: go on without
    }
    this.index++;
    this.filled = 0;
    this.part = null;
  }
}

async function* readPieces(body) {
  let reader, view;
  try {
    reader = body.getReader({ mode: "byob" }); // into one buffer of ours
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

function describe(response) {
  const range = /\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const total = Number(range ? range[1] : response.headers.get("content-length"));
  const tag = response.headers.get("etag") ?? response.headers.get("last-modified");
  return { total, tag: tag?.startsWith("W/") ? null : tag };
}

/** Whether the server is known to have another file now. Without a network, what is stored is good. */
async function isStale(url, known, signal) {
  try {
    const response = await fetch(url, { method: "HEAD", signal, cache: "no-store" });
    return response.ok && describe(response).tag !== known.tag;
  } catch (error) {
    if (signal.aborted) throw error;
    return false;
  }
}

const final = (message) => Object.assign(new Error(message), { final: true });

// An answer that is no file of a model: final where asking again would bring the same.
function check(url, response) {
  if (response.ok) return;
  const message = `${url}: the server answers ${response.status} ${response.statusText}`.trim();
  throw response.status < 500 && ![408, 416, 429].includes(response.status) ? final(message) : new Error(message);
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
 * Call `begin(total)`, then `take(piece)` with every piece of the file in order; `begin` again where what came so far is of another
 * file than the server has now. What `take` throws is thrown on.
 */
export async function download(url, { begin, take, signal }) {
  const cache = await openCache();
  let { parts, known } = await stored(cache, url);
  if (known && (await isStale(url, known, signal))) {
    await forget(url);
    [parts, known] = [[], null];
  }
  let at = 0;
  const accept = async (piece) => {
    await take(piece);
    at += piece.length;
  };
  if (known) await begin(known.total);
  for (const response of parts) for await (const piece of readPieces(response.body)) await accept(piece);
  let store = known && new Store(cache, url, known, parts.length);

  let changes = 0;
  for (let failures = 0; !known || at < known.total; ) {
    const before = at;
    let isTheirs = false; // whether an error is that of who called
    try {
      // a range alone needs no leave of another site's server (If-Range would): the tag is compared here
      const response = await fetch(url, { headers: at ? { Range: `bytes=${at}-` } : {}, signal, cache: "no-store" });
      const now = describe(response);
      if (at && (response.status === 416 || (response.ok && now.tag !== known.tag))) {
        await response.body?.cancel();
        await forget(url);
        [at, known] = [0, null];
        throw changes++ ? final(`${url}: the server's file changes while it is fetched`) : new Error("the file changed");
      }
      check(url, response);
      if (!known || response.status !== 206) {
        if (!now.total) throw final(`${url}: the server does not say how large the model is`);
        [at, known] = [0, now];
        store = new Store(cache, url, known, 0);
        isTheirs = true;
        await begin(known.total);
        isTheirs = false;
      }
      for await (const piece of readPieces(response.body)) {
        await store.add(piece);
        isTheirs = true;
        await accept(piece);
        isTheirs = false;
      }
      if (at < known.total) throw new Error(`the connection ended after ${at} of ${known.total} bytes`);
    } catch (error) {
      if (isTheirs || error.final || signal.aborted) throw error;
      failures = at > before ? 1 : failures + 1;
      if (failures > RETRIES) throw new Error(`${url}: the model could not be fetched (${error.message})`);
      await pause(FIRST_PAUSE * 2 ** (failures - 1), signal);
    }
  }
}

// The page's service worker: it keeps every file that the page has loaded, and answers with it where the network fails.
// Models are not kept here: download.js keeps them, in parts.

const CACHE = "whisper-apr-page";
const VERSIONED = "https://cdn.jsdelivr.net/"; // an address there always means the same file

// Models, and what must come from the network.
const isOther = ({ method, headers, cache, url }) =>
  method !== "GET" || headers.has("range") || cache === "no-store" || !url.startsWith("http");

const tag = ({ headers }) => [headers.get("etag") ?? headers.get("last-modified"), headers.get("content-length")];

const isSame = (a, b) => tag(a)[0] !== null && tag(a).join() === tag(b).join();

// Names of one wheel in several versions are equal up to the first hyphen.
const wheelName = (url) => /\/([^/-]+)-[^/]*\.whl$/.exec(url)?.[1];

async function keep(request, response) {
  try {
    const cache = await caches.open(CACHE);
    const kept = await cache.match(request);
    if (kept && isSame(kept, response)) {
      await response.body?.cancel();
      return;
    }
    await cache.put(request, response);
    const name = wheelName(request.url);
    for (const other of name ? await cache.keys() : []) {
      if (other.url !== request.url && wheelName(other.url) === name) await cache.delete(other);
    }
  } catch {
    // the storage is full or not available: the page works, but not offline
  }
}

async function answer(event) {
  const { request } = event;
  const kept = () => caches.match(request, { cacheName: CACHE, ignoreSearch: request.mode === "navigate" });
  const known = request.url.startsWith(VERSIONED) && (await kept());
  if (known) return known;
  try {
    const response = await fetch(request);
    if (response.status === 200 && response.type !== "opaque") event.waitUntil(keep(request, response.clone()));
    return response;
  } catch (error) {
    const found = await kept();
    if (found) return found;
    throw error;
  }
}

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => isOther(event.request) || event.respondWith(answer(event)));
self.addEventListener("message", (event) => {
  const fetchAndKeep = async (url) => {
    const request = new Request(url);
    if (await caches.match(request, { cacheName: CACHE })) return;
    const response = await fetch(request);
    if (response.ok) await keep(request, response);
  };
  event.waitUntil(Promise.allSettled((event.data.keep ?? []).map(fetchAndKeep)));
});

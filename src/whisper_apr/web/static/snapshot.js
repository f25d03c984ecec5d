// Keep Python's memory, as it is once whisper_apr was imported, in Cache Storage, so that the next start restores it
// instead of importing modules. A snapshot is valid for the very files that it was made from.

import { answered, describe, isSame } from "./download.js";

const CACHE = "whisper-apr-python";
const VERSION = 1; // of the format

const { fetch } = self; // not the one of a Guard
const place = (wheel) => `${wheel}${wheel.includes("?") ? "&" : "?"}apr-snapshot=${VERSION}`;

/** Return what servers tell about files, as `describe` does; null for a file about which they tell nothing in time. */
export function ask(urls, timeout) {
  const head = async (url) => {
    try {
      const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(timeout), cache: "no-store" });
      return response.ok ? describe(response) : null;
    } catch {
      return null;
    }
  };
  return Promise.all(urls.map(head));
}

/**
 * Return the snapshot for a wheel, as it was given to `store`, or null, also if the storage gives no answer within
 * `timeout` milliseconds.
 */
export async function read(wheel, timeout) {
  try {
    const cache = await answered(caches.open(CACHE), timeout);
    const response = await answered(cache.match(place(wheel)), timeout);
    if (!response) return null;
    const blob = await response.blob();
    let at = 0;
    const take = async (size) => new Uint8Array(await blob.slice(at, (at += size)).arrayBuffer());
    const length = new DataView((await take(4)).buffer).getUint32(0, true);
    const { parts, ...about } = JSON.parse(new TextDecoder().decode(await take(length)));
    const memory = await take(parts.memory);
    // apart from the memory, which is not needed once it is restored, while the files are
    const content = await take(blob.size - at);
    let begin = 0;
    const files = parts.files.map(([name, size]) => [name, content.subarray(begin, (begin += size))]);
    if (begin !== content.length) throw new Error("it is incomplete");
    return { ...about, memory, files };
  } catch {
    return null; // no secure context, storage is disabled, or the entry is damaged
  }
}

/** Store a snapshot instead of earlier ones: `memory`, `files` as pairs of name and bytes, and further JSON values. */
export async function store(wheel, timeout, { memory, files, ...about }) {
  const parts = { memory: memory.length, files: files.map(([name, { length }]) => [name, length]) };
  const text = new TextEncoder().encode(JSON.stringify({ ...about, parts }));
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, text.length, true);
  try {
    const body = new Blob([length, text, memory, ...files.map(([, bytes]) => bytes)]);
    await forget(timeout);
    const cache = await answered(caches.open(CACHE), timeout);
    await answered(cache.put(place(wheel), new Response(body)), timeout);
  } catch {
    // as above, or memory or storage is full: the next start imports the modules again
  }
}

/** Delete all snapshots. One that stays, because the storage gives no answer, is replaced by the next one. */
export async function forget(timeout) {
  try {
    await answered(self.caches?.delete(CACHE), timeout);
  } catch {
    // as in `read`
  }
}

/** Return whether a snapshot was made from the files that are there now. What cannot be reached is taken for them. */
export const isCurrent = (then, now) => then.every((known, i) => now[i] === null || isSame(now[i], known));

// Read the files of a wheel, which is a zip archive. The browser decompresses them.

const [DIRECTORY_END, DIRECTORY_ENTRY, FILE_HEADER] = [0x06054b50, 0x02014b50, 0x04034b50];
const [STORED, DEFLATED] = [0, 8];
const MAX_FILE = 256e6; // bytes
// A gzip file is this header, the compressed data, and its CRC and length, which the browser verifies.
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);

const decoder = new TextDecoder();

// Return an archive's directory: a view of the archive, the number of entries, and where they and the end record begin.
function findDirectory(archive) {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  let end = archive.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== DIRECTORY_END) end--;
  if (end < 0) throw new Error("it is not a zip archive, or it is incomplete");
  const begin = view.getUint32(end + 16, true);
  if (begin > end) throw new Error("its directory is damaged");
  return { view, count: view.getUint16(end + 10, true), begin, end };
}

// Yield where each entry of a directory begins and ends.
function* readEntries({ view, count, begin, end }) {
  for (let i = 0, at = begin; i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== DIRECTORY_ENTRY) throw new Error("its directory is damaged");
    const lengths = [28, 30, 32].map((offset) => view.getUint16(at + offset, true)); // of name, extra field, comment
    const next = at + 46 + lengths[0] + lengths[1] + lengths[2];
    yield { at, next, nameLength: lengths[0] };
    at = next;
  }
}

/**
 * Return the files of a zip archive whose names `isWanted` accepts, as pairs of the name and the bytes.
 *
 * Throws an error if the archive is damaged, encrypted, larger than 4 GB, or compressed by another method than deflate.
 */
export async function unzip(archive, isWanted = () => true) {
  const directory = findDirectory(archive);
  const files = [];
  for (const { at, nameLength } of readEntries(directory)) {
    const name = decoder.decode(archive.subarray(at + 46, at + 46 + nameLength));
    if (!name.endsWith("/") && isWanted(name)) files.push(readFile(archive, directory.view, at, name));
  }
  return Promise.all(files);
}

/** Return a zip archive with the files of two, which have no name in common. It throws an error as `unzip` does. */
export function joinArchives(first, second) {
  const [a, b] = [first, second].map(findDirectory);
  const joined = new Uint8Array(first.length + second.length - 22);
  joined.set(first.subarray(0, a.begin));
  joined.set(second.subarray(0, b.begin), a.begin);
  const begin = a.begin + b.begin;
  joined.set(first.subarray(a.begin, a.end), begin);
  const others = begin + a.end - a.begin;
  joined.set(second.subarray(b.begin, b.end), others);
  const end = others + b.end - b.begin;
  const view = new DataView(joined.buffer);
  for (const { at } of readEntries({ view, count: b.count, begin: others, end })) {
    view.setUint32(at + 42, view.getUint32(at + 42, true) + a.begin, true); // where the file is
  }
  view.setUint32(end, DIRECTORY_END, true);
  for (const offset of [8, 10]) view.setUint16(end + offset, a.count + b.count, true);
  view.setUint32(end + 12, end - begin, true);
  view.setUint32(end + 16, begin, true);
  return joined.subarray(0, end + 22);
}

async function readFile(archive, view, entry, name) {
  const [flags, method] = [8, 10].map((offset) => view.getUint16(entry + offset, true));
  const [compressed, length, header] = [20, 24, 42].map((offset) => view.getUint32(entry + offset, true));
  if (header + 30 > archive.length || view.getUint32(header, true) !== FILE_HEADER) {
    throw new Error(`its file ${name} is damaged`);
  }
  const begin = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const data = archive.subarray(begin, begin + compressed);
  if (flags & 1 || ![STORED, DEFLATED].includes(method) || length > MAX_FILE || data.length < compressed) {
    throw new Error(`its file ${name} is incomplete or has an unsupported format`);
  }
  if (method === STORED) return [name, data];
  const trailer = archive.subarray(entry + 16, entry + 20); // the CRC
  const size = new Uint8Array(new Uint32Array([length]).buffer);
  const gzip = new Blob([GZIP_HEADER, data, trailer, size]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = new Uint8Array(length);
  let filled = 0;
  try {
    for (const reader = gzip.getReader(); ; ) {
      const { value, done } = await reader.read();
      if (done) break;
      content.set(value, filled); // throws a RangeError if there is more than the directory says
      filled += value.length;
    }
  } catch (error) {
    throw new Error(`its file ${name} is damaged (${error.message})`);
  }
  return [name, content];
}

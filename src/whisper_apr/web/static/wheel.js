// Read the files of a wheel, which is a zip archive. The browser decompresses them.

const [DIRECTORY_END, DIRECTORY_ENTRY, FILE_HEADER] = [0x06054b50, 0x02014b50, 0x04034b50];
const [STORED, DEFLATED] = [0, 8];
const MAX_FILE = 256e6; // bytes
// A gzip file is this header, the compressed data, and its CRC and length, which the browser verifies.
const GZIP_HEADER = Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255);

const decoder = new TextDecoder();

/**
 * Return the files of a zip archive whose names `isWanted` accepts, as pairs of the name and the bytes.
 *
 * Throws an error if the archive is damaged, encrypted, larger than 4 GB, or compressed by another method than deflate.
 */
export async function unzip(archive, isWanted = () => true) {
  const view = new DataView(archive.buffer, archive.byteOffset, archive.byteLength);
  let end = archive.length - 22;
  while (end >= 0 && view.getUint32(end, true) !== DIRECTORY_END) end--;
  if (end < 0) throw new Error("it is not a zip archive, or it is incomplete");
  const count = view.getUint16(end + 10, true);
  const files = [];
  for (let i = 0, at = view.getUint32(end + 16, true); i < count; i++) {
    if (at + 46 > end || view.getUint32(at, true) !== DIRECTORY_ENTRY) throw new Error("its directory is damaged");
    const [nameLength, extraLength, commentLength] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const name = decoder.decode(archive.subarray(at + 46, at + 46 + nameLength));
    if (!name.endsWith("/") && isWanted(name)) files.push(readFile(archive, view, at, name));
    at += 46 + nameLength + extraLength + commentLength;
  }
  return Promise.all(files);
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

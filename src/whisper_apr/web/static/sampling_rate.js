// The sampling rate that a recording states, so that the browser decodes it without converting the rate.

import { findFirstFrame, parseHeader } from "./mp3.js";

const OPUS = 48000; // Hz, of every Opus stream
const HEAD = 65536; // bytes in which a header is looked for

const text = (bytes, at, length) => String.fromCharCode(...bytes.subarray(at, at + length));

// The offset of a text in the bytes from `begin` to `end`, or -1.
function find(bytes, wanted, begin = 0, end = bytes.length) {
  const codes = Array.from(wanted, (letter) => letter.charCodeAt(0));
  for (let at = bytes.indexOf(codes[0], begin); at >= 0 && at < end; at = bytes.indexOf(codes[0], at + 1)) {
    if (codes.every((code, i) => bytes[at + i] === code)) return at;
  }
  return -1;
}

const flac = (view, at) => view.getUint32(at + 10) >>> 12; // of a STREAMINFO block's content

function wave(bytes, view) {
  const at = find(bytes, "fmt ", 12, HEAD);
  return at < 0 ? null : view.getUint32(at + 12, true);
}

function ogg(bytes, view) {
  const at = 27 + bytes[26]; // the first page's content
  if (text(bytes, at + 1, 6) === "vorbis") return view.getUint32(at + 12, true);
  if (text(bytes, at + 1, 4) === "FLAC") return flac(view, at + 17);
  return text(bytes, at, 8) === "OpusHead" ? OPUS : null;
}

function mp4(bytes, view) {
  const movie = find(bytes, "moov");
  const at = movie < 0 ? -1 : find(bytes, "mp4a", movie); // in the description of the samples
  return at < 0 ? null : view.getUint32(at + 28) >>> 16;
}

// Matroska and WebM: the element SamplingFrequency, a float
function matroska(bytes, view) {
  if (find(bytes, "A_OPUS", 0, HEAD) >= 0) return OPUS;
  for (let at = bytes.indexOf(0xb5); at >= 0 && at < HEAD; at = bytes.indexOf(0xb5, at + 1)) {
    if (bytes[at + 1] === 0x84) return view.getFloat32(at + 2);
    if (bytes[at + 1] === 0x88) return view.getFloat64(at + 2);
  }
  return null;
}

/** Return the rate in Hz, null if it is unknown, and whether the recording is an MP3 file. */
export function describeRecording(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = text(bytes, 0, 4);
  try {
    if (head === "RIFF") return { rate: wave(bytes, view), isMP3: false };
    if (head === "fLaC") return { rate: flac(view, 8), isMP3: false };
    if (head === "OggS") return { rate: ogg(bytes, view), isMP3: false };
    if (text(bytes, 4, 4) === "ftyp") return { rate: mp4(bytes, view), isMP3: false };
    if (head === "\x1aE\xdf\xa3") return { rate: matroska(bytes, view), isMP3: false };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // the file ends within its header
  }
  const at = findFirstFrame(bytes);
  return { rate: at < 0 ? null : parseHeader(bytes, at).rate, isMP3: at >= 0 };
}

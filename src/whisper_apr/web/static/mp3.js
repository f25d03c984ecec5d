// MP3 files that are louder than full scale. Browsers limit what they decode from them to -1 to 1, so that peaks are
// lost. Each frame states a gain in steps of 1.5 dB: with a lower one, the same frames decode to samples that fit.
//
// ISO/IEC 11172-3 and 13818-3, layer III.

const BITRATES = [
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160], // MPEG-2 and 2.5, in kbit/s
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320], // MPEG-1
];
const RATES = [44100, 48000, 32000]; // Hz, of MPEG-1

/** The factor by which `lowerGain` lowers the samples. */
export const FACTOR = 4;
const STEPS = 8; // of the gain; a step is a factor of 2 ** (1 / 4)

/** Return what the header at an offset says, or null if there is none of a layer III frame. */
export function parseHeader(bytes, at) {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return null;
  const [, second, third, fourth] = bytes.subarray(at, at + 4);
  const version = (second >> 3) & 3; // 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5
  const isFirst = version === 3;
  const bitrate = BITRATES[Number(isFirst)][third >> 4];
  const base = RATES[(third >> 2) & 3];
  if (version === 1 || !bitrate || !base) return null;
  const rate = base / { 3: 1, 2: 2, 0: 4 }[version];
  const size = Math.floor(((isFirst ? 144 : 72) * 1000 * bitrate) / rate) + ((third >> 1) & 1);
  return { rate, size, isFirst, hasChecksum: !(second & 1), channels: fourth >> 6 === 3 ? 1 : 2 };
}

/** Return the offset of the first frame that others follow, or -1. */
export function findFirstFrame(bytes) {
  let begin = 0;
  if (String.fromCharCode(...bytes.subarray(0, 3)) === "ID3") {
    begin = 10 + bytes.subarray(6, 10).reduce((size, byte) => size * 128 + (byte & 127), 0);
  }
  for (let at = begin; at < Math.min(bytes.length, begin + 65536); at++) {
    const header = parseHeader(bytes, at);
    const next = header && at + header.size;
    if (header && (next >= bytes.length || parseHeader(bytes, next)?.rate === header.rate)) return at;
  }
  return -1;
}

// The checksum of a frame: CRC-16 over the last two bytes of the header, and the side information.
function checksum(bytes, at, end) {
  let crc = 0xffff;
  const add = (byte) => {
    for (let bit = 7; bit >= 0; bit--) {
      const isOdd = ((crc >> 15) ^ (byte >> bit)) & 1;
      crc = ((crc << 1) & 0xffff) ^ (isOdd ? 0x8005 : 0);
    }
  };
  bytes.subarray(at + 2, at + 4).forEach(add);
  bytes.subarray(at + 6, end).forEach(add);
  return crc;
}

function lowerFrame(bytes, at, { isFirst, hasChecksum, channels }) {
  const begin = at + 4 + (hasChecksum ? 2 : 0);
  const end = begin + (isFirst ? [17, 32] : [9, 17])[channels - 1];
  if (end > bytes.length) return;
  const first = (isFirst ? [18, 20] : [9, 10])[channels - 1]; // bits before the first granule's
  const length = isFirst ? 59 : 63; // bits of one channel in one granule; the gain is in bits 21 to 28
  for (let i = 0; i < channels * (isFirst ? 2 : 1); i++) {
    const bit = first + i * length + 21;
    const place = begin + (bit >> 3);
    const shift = 8 - (bit & 7);
    const both = (bytes[place] << 8) | bytes[place + 1];
    const gain = Math.max(0, ((both >> shift) & 255) - STEPS);
    const lowered = (both & ~(255 << shift)) | (gain << shift);
    [bytes[place], bytes[place + 1]] = [lowered >> 8, lowered & 255];
  }
  if (hasChecksum) {
    const crc = checksum(bytes, at, end);
    [bytes[at + 4], bytes[at + 5]] = [crc >> 8, crc & 255];
  }
}

/** Lower the gain of all frames, in place: the samples are then those of the file divided by FACTOR. */
export function lowerGain(bytes) {
  for (let at = findFirstFrame(bytes); at >= 0 && at < bytes.length; ) {
    const header = parseHeader(bytes, at);
    if (header) lowerFrame(bytes, at, header);
    at += header?.size ?? 1;
  }
}

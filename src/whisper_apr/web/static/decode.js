// Recordings to samples: what needs no decoder is read by Python in the worker; the rest is decoded by the browser at
// its own sampling rate, and converted to 16 kHz by Python, as outside of the browser.

import { WhisperError } from "./errors.js";
import { FACTOR, lowerGain } from "./mp3.js";
import { describeRecording } from "./sampling_rate.js";

export const RATE = 16000; // Hz, the models' sampling rate
const USUAL = 48000; // Hz, for a recording whose rate is not known
const [LOWEST, HIGHEST] = [8000, 96000]; // Hz, the rates that every browser decodes to
const LARGE = 48e6; // bytes of a file from which on the browser converts the rate, because the samples need much memory
const BLOCK = 10; // seconds that are given to the worker at once
const LIMITED = 0.9999; // from this magnitude on, samples may have been limited to full scale

const audioError = (message) => new WhisperError({ kind: "AudioError", message });

const decodeTo = (rate, buffer) => new OfflineAudioContext(1, 1, rate).decodeAudioData(buffer);

const channelsOf = (sound) => Array.from({ length: sound.numberOfChannels }, (_, i) => sound.getChannelData(i));

// Decode at the recording's own rate. Returns an AudioBuffer, and the factor that its samples lack.
async function decodeAtOwnRate(blob) {
  if (blob.size > LARGE) return { sound: await decodeTo(RATE, await blob.arrayBuffer()), factor: 1 };
  const buffer = await blob.arrayBuffer();
  const { rate, isMP3 } = describeRecording(new Uint8Array(buffer));
  const own = rate >= LOWEST && rate <= HIGHEST ? rate : USUAL;
  const sound = await decodeTo(own, buffer);
  if (!isMP3 || !channelsOf(sound).some((samples) => samples.some((x) => Math.abs(x) > LIMITED))) {
    return { sound, factor: 1 };
  }
  const lower = await blob.arrayBuffer(); // the first buffer was given away
  lowerGain(new Uint8Array(lower));
  return { sound: await decodeTo(own, lower), factor: FACTOR };
}

/**
 * Decode a recording with the worker. Returns mono `samples` at 16 kHz, and `warnings`, texts about damage.
 *
 * `call(type, message, transfer)` sends a request to the worker.
 */
export async function decodeRecording(source, call) {
  const blob = source instanceof Blob ? source : new Blob([source]);
  const name = source.name ?? "the recording";
  const plain = await call("readPlain", { name, blob });
  if (plain) return plain;
  const { sound, factor } = await decodeAtOwnRate(blob).catch(() => {
    const message = `${name}: this browser cannot decode it; use WAV, AIFF, MP3, M4A, OGG or FLAC`;
    throw audioError(message);
  });
  await call("decodeStart", { name, rate: sound.sampleRate });
  const all = channelsOf(sound);
  const step = BLOCK * sound.sampleRate;
  for (let begin = 0; begin < sound.length; begin += step) {
    const channels = all.map((samples) => samples.slice(begin, begin + step));
    if (factor !== 1) for (const samples of channels) samples.forEach((x, i) => (samples[i] = x * factor));
    await call("decodePush", { channels }, channels.map(({ buffer }) => buffer));
  }
  return call("decodeFinish");
}

/**
 * Decode a recording (a File, a Blob or an ArrayBuffer) to mono samples at 16 kHz, with the browser alone: it also
 * converts the sampling rate, which gives slightly different samples than `Whisper.decode`.
 */
export async function decodeAudio(source) {
  const bytes = source instanceof Blob ? await source.arrayBuffer() : source.slice(0);
  const sound = await decodeTo(RATE, bytes).catch(() => {
    const name = source.name ?? "the recording";
    throw audioError(`${name}: this browser cannot decode it; use WAV, MP3, M4A, OGG or FLAC`);
  });
  const [samples, ...others] = channelsOf(sound);
  const mixed = samples.slice();
  for (const other of others) for (let i = 0; i < mixed.length; i++) mixed[i] += other[i];
  if (others.length) for (let i = 0; i < mixed.length; i++) mixed[i] /= sound.numberOfChannels;
  return mixed;
}

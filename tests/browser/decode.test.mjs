// Recordings as samples: those that the page gives to the model are those that Python reads from the same file.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { lowerGain } from "../../src/whisper_apr/web/static/mp3.js";
import { data, start } from "./harness.mjs";

const { BROWSER_PYTHON } = process.env;
const FOLDER = mkdtempSync(join(tmpdir(), "whisper-apr-"));

// Encode a recording at 44.1 kHz in stereo, `loud` beyond full scale, and store the samples that Python reads back.
const SCRIPT = `
import sys, numpy as np, soundfile
from pathlib import Path
from whisper_apr.audio import load_audio
folder = Path(sys.argv[1])
quiet, rate = soundfile.read(sys.argv[2], dtype="float32")
loud = 2.5 * quiet / np.abs(quiet).max()
for name, sound, rate_, format, subtype in [
    ("plain.wav", quiet, rate, "WAV", "PCM_16"),
    ("float.wav", loud, rate, "WAV", "FLOAT"),
    ("plain.aiff", quiet, rate, "AIFF", "PCM_24"),
    ("plain.au", quiet, rate, "AU", "PCM_16"),
    ("plain.caf", quiet, rate, "CAF", "PCM_16"),
    ("plain.flac", quiet, rate, "FLAC", "PCM_16"),
    ("deep.flac", quiet, rate, "FLAC", "PCM_24"),
    ("telephone.wav", quiet[:, 0], 8000, "WAV", "ULAW"),
    ("quiet.mp3", quiet, rate, "MP3", "MPEG_LAYER_III"),
    ("loud.mp3", loud, rate, "MP3", "MPEG_LAYER_III"),
    ("mono.mp3", loud[:, 0], 24000, "MP3", "MPEG_LAYER_III"),
    ("loud.ogg", loud, rate, "OGG", "VORBIS"),
    ("quiet.opus", np.repeat(quiet, 2, axis=0), 48000, "OGG", "OPUS"),
]:
    with soundfile.SoundFile(folder / name, "w", rate_, sound.ndim, subtype, format=format) as file:
        for begin in range(0, len(sound), 4096):  # libsndfile overflows its stack with more Vorbis at once
            file.write(sound[begin : begin + 4096])
    load_audio(folder / name).tofile(folder / f"{name}.f32")
`;
execFileSync(BROWSER_PYTHON, ["-c", SCRIPT, FOLDER, data("en_stereo_44k.flac")]);

const floats = (bytes) => new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const expected = (name) => floats(readFileSync(join(FOLDER, `${name}.f32`)));

let setup, page;

before(async () => {
  setup = await start();
  page = await setup.page("blank");
  await page.evaluate(async () => {
    const { Whisper } = await import("/whisper.js");
    window.whisper = await Whisper.load();
    window.decode = async (name, base64) => {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      const warnings = [];
      const onWarning = (message) => warnings.push(message);
      try {
        const samples = await window.whisper.decode(new File([bytes], name), { onWarning });
        const all = new Uint8Array(samples.buffer);
        let text = "";
        for (let i = 0; i < all.length; i += 30000) text += String.fromCharCode(...all.subarray(i, i + 30000));
        return { base64: btoa(text), warnings };
      } catch ({ name, message }) {
        return { error: `${name}: ${message}` };
      }
    };
  });
});
after(() => setup.end());
afterEach(() => assert.deepEqual(setup.errors.splice(0), [], "errors in the console"));

async function decode(name, bytes) {
  const call = [name, bytes.toString("base64")];
  const { base64, ...found } = await page.evaluate(([name, base64]) => window.decode(name, base64), call);
  return { samples: base64 && floats(Buffer.from(base64, "base64")), ...found };
}
const decodeFile = (name) => decode(name, readFileSync(join(FOLDER, name)));

function largestDifference(a, b) {
  assert.equal(a.length, b.length);
  return a.reduce((largest, x, i) => Math.max(largest, Math.abs(x - b[i])), 0);
}

for (const name of ["plain.wav", "float.wav", "plain.aiff", "plain.au", "plain.caf"]) {
  test(`${name}: the samples are those of Python`, async () => {
    const { samples, warnings } = await decodeFile(name);
    assert.ok(largestDifference(samples, expected(name)) < 1e-6);
    assert.deepEqual(warnings, []);
  });
}

for (const [name, limit] of [
  ["plain.flac", 1e-4],
  ["deep.flac", 1e-4],
  ["telephone.wav", 1e-4],
  ["quiet.mp3", 1e-4],
  ["loud.mp3", 1e-3],
  ["mono.mp3", 1e-3],
  ["loud.ogg", 1e-4],
  ["quiet.opus", 1e-4],
]) {
  test(`${name}: the samples are those of Python, up to ${limit}`, async () => {
    const { samples } = await decodeFile(name);
    const difference = largestDifference(samples, expected(name));
    assert.ok(difference < limit, String(difference));
    if (/loud|mono/.test(name)) assert.ok(samples.some((x) => Math.abs(x) > 1.2), "the peaks are there");
  });
}

test("the gain of an MP3 file is lowered by a factor of four", () => {
  const bytes = readFileSync(join(FOLDER, "quiet.mp3"));
  const lower = Buffer.from(bytes);
  lowerGain(lower);
  assert.equal(lower.length, bytes.length);
  const script = `
import sys, numpy as np
from whisper_apr.audio import load_audio
a, b = (load_audio(bytes.fromhex(line)) for line in sys.stdin.read().split())
print(float(np.abs(a - 4 * b).max() / np.abs(a).max()))
`;
  const input = `${bytes.toString("hex")}\n${lower.toString("hex")}`;
  const difference = Number(execFileSync(BROWSER_PYTHON, ["-c", script], { input, encoding: "utf-8" }));
  assert.ok(difference < 1e-5, String(difference));
});

test("damage is told", async () => {
  const bytes = readFileSync(join(FOLDER, "plain.wav"));
  const { samples, warnings } = await decode("cut.wav", bytes.subarray(0, bytes.length - 4000));
  assert.ok(samples.length > 1000);
  assert.match(warnings.join(), /^cut\.wav: cut off: /);
});

test("what cannot be decoded is an error", async () => {
  const short = ["", "OggS", "fLaC", "\0\0\0\x08ftypM4A moov", "ID3\x04\0\0\x7f\x7f\x7f\x7f", "\x1aE\xdf\xa3\xb5\x84"];
  for (const head of short) {
    const { error } = await decode("x.bin", Buffer.from(head, "latin1"));
    assert.match(error, /^AudioError: x\.bin: this browser cannot decode it; use WAV/);
  }
});

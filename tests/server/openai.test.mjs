// OpenAI's client from npm against a server. SERVER_URL is its address, SERVER_KEY its key, RECORDING a file, SAMPLES a
// file with the same sound as 16-bit samples at 24 kHz, TEXT what is said in it, and CERTIFICATE one of localhost.

import assert from "node:assert/strict";
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import test from "node:test";
import { createServer } from "node:tls";

// the client is installed in a folder outside of the checkout
const require = createRequire(`${process.env.NODE_MODULES}/`);
const { OpenAI, NotFoundError, BadRequestError, AuthenticationError } = require("openai");
const { OpenAIRealtimeWS } = require("openai/realtime/ws");

const { SERVER_URL, SERVER_KEY, RECORDING, SAMPLES, TEXT, CERTIFICATE } = process.env;
const client = new OpenAI({ baseURL: `${SERVER_URL}/v1`, apiKey: SERVER_KEY, maxRetries: 0 });
const file = () => createReadStream(RECORDING);
const transcribe = (parameters = {}) =>
  client.audio.transcriptions.create({ file: file(), model: "whisper-1", ...parameters });

test("every format has the text", async () => {
  assert.equal((await transcribe()).text, TEXT);
  assert.equal(await transcribe({ response_format: "text" }), `${TEXT}\n`);
  assert.ok((await transcribe({ response_format: "srt" })).includes(TEXT));
  assert.ok((await transcribe({ response_format: "vtt" })).startsWith("WEBVTT\n"));
  const verbose = await transcribe({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"] });
  assert.equal(verbose.words.map((word) => word.word).join(" "), TEXT);
  assert.equal(verbose.segments[0].text.trim(), TEXT);
});

test("a stream has the text in parts", async () => {
  let [text, done] = ["", null];
  for await (const event of await transcribe({ stream: true, include: ["logprobs"] })) {
    if (event.type === "transcript.text.delta") text += event.delta;
    else done = event;
  }
  assert.equal(done.type, "transcript.text.done");
  assert.equal(done.text, TEXT);
  assert.equal(text, TEXT);
  assert.ok(done.logprobs.every(({ logprob }) => logprob <= 0));
});

test("objects and lists are understood", async () => {
  const chunking_strategy = { type: "server_vad", threshold: 0.3, silence_duration_ms: 500 };
  const result = await transcribe({ chunking_strategy, keywords: ["three", "one"] });
  assert.equal(result.text, TEXT);
});

test("translations and models", async () => {
  assert.equal(typeof (await client.audio.translations.create({ file: file(), model: "whisper-1" })).text, "string");
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["digits", "whisper-1"]);
});

test("errors are the client's own", async () => {
  await assert.rejects(transcribe({ model: "other" }), (error) => {
    return error instanceof NotFoundError && error.code === "model_not_found";
  });
  await assert.rejects(transcribe({ language: "xx" }), (error) => {
    return error instanceof BadRequestError && error.param === "language";
  });
  await assert.rejects(client.withOptions({ apiKey: "wrong" }).models.list(), AuthenticationError);
});

/** Starts a proxy with TLS before the server, which this client's realtime connections need; returns its URL. */
async function proxy(t) {
  const pem = readFileSync(CERTIFICATE);
  const server = createServer({ cert: pem, key: pem }, (outer) => {
    const inner = connect(new URL(SERVER_URL).port, "127.0.0.1");
    outer.pipe(inner).pipe(outer);
    for (const [one, other] of [[inner, outer], [outer, inner]]) one.on("error", () => other.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return `https://localhost:${server.address().port}/v1`;
}

test("a realtime session", async (t) => {
  const secure = client.withOptions({ baseURL: await proxy(t) });
  const socket = await OpenAIRealtimeWS.create(secure, { model: "whisper-1" });
  try {
    const created = await new Promise((resolve, reject) => {
      socket.on("session.created", resolve);
      socket.on("error", reject);
    });
    assert.equal(created.session.type, "transcription");
    const completed = new Promise((resolve, reject) => {
      socket.on("conversation.item.input_audio_transcription.completed", resolve);
      socket.on("error", reject);
    });
    const session = { type: "transcription", audio: { input: { turn_detection: null } } };
    socket.send({ type: "session.update", session });
    socket.send({ type: "input_audio_buffer.append", audio: readFileSync(SAMPLES).toString("base64") });
    socket.send({ type: "input_audio_buffer.commit" });
    assert.equal((await completed).transcript, TEXT);
  } finally {
    socket.close();
  }
});

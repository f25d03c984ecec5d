// The samples of a MediaStream, such as that of a microphone, as they arrive.

import { Queue } from "./queue.js";

const BLOCK = 0.05; // seconds of sound that the worklet posts at once

function concatenate(blocks) {
  const all = new Float32Array(blocks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const block of blocks) {
    all.set(block, at);
    at += block.length;
  }
  return all;
}

/**
 * Record a stream until its tracks end or `stop` is called. Returns the sampling `rate` in Hz, and `blocks`, an async
 * iterable of mono samples, of which each value holds all that has arrived since the previous one.
 */
export async function record(stream) {
  const tracks = stream.getAudioTracks();
  const queue = new Queue();
  const context = new AudioContext(); // at the device's rate, because Firefox does not resample a stream
  const stop = () => {
    queue.end();
    if (context.state !== "closed") context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("./capture.js", import.meta.url));
    const size = Math.round(BLOCK * context.sampleRate);
    const options = { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit", processorOptions: { size } };
    const node = new AudioWorkletNode(context, "whisper-apr-capture", options);
    node.port.onmessage = ({ data }) => queue.push(data);
    node.onprocessorerror = () => queue.end(new Error("the audio worklet failed"));
    context.createMediaStreamSource(stream).connect(node);
    context.resume().catch(() => {}); // it is suspended until the user has interacted with the page
  } catch (error) {
    stop();
    throw error;
  }
  const stopIfEnded = () => tracks.every(({ readyState }) => readyState === "ended") && stop();
  for (const track of tracks) track.addEventListener("ended", stopIfEnded);
  stopIfEnded();
  return {
    rate: context.sampleRate,
    stop,
    blocks: (async function* () {
      for (let some; (some = await queue.takeAll()); ) yield concatenate(some);
    })(),
  };
}

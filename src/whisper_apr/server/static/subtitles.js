// The files of a transcription, a response of the format verbose_json.

function stamp(seconds, decimal) {
  const milliseconds = Math.round(1000 * seconds);
  const parts = [3600000, 60000, 1000].map((size, i) => Math.floor(milliseconds / size) % (i ? 60 : Infinity));
  const clock = parts.map((part) => String(part).padStart(2, "0")).join(":");
  return `${clock}${decimal}${String(milliseconds % 1000).padStart(3, "0")}`;
}

/** Returns the segments that have text, each with its lines joined. */
function spoken(result) {
  return result.segments
    .map((segment) => ({ ...segment, text: segment.text.trim().replace(/\s*\n\s*/g, " ") }))
    .filter((segment) => segment.text && segment.end > segment.start);
}

const WRITERS = {
  txt: (result) => `${result.segments.map((segment) => segment.text.trim()).join("\n")}\n`,
  srt: (result) =>
    spoken(result)
      .map(({ start, end, text }, i) => {
        const times = `${stamp(start, ",")} --> ${stamp(end, ",")}`;
        return `${i + 1}\n${times}\n${text.replaceAll("-->", "->")}\n\n`;
      })
      .join(""),
  vtt: (result) => {
    const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
    const cues = spoken(result).map(
      ({ start, end, text }) => `${stamp(start, ".")} --> ${stamp(end, ".")}\n${escaped(text)}\n\n`,
    );
    return `WEBVTT\n\n${cues.join("")}`;
  },
  json: (result) => JSON.stringify(result, null, 2),
};

/** Returns a transcription as a file of a format: txt, srt, vtt or json. */
export function written(result, format) {
  return WRITERS[format](result);
}

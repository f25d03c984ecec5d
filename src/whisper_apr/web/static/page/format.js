// Numbers and names as the page shows them.

const languageNames = new Intl.DisplayNames("en", { type: "language", fallback: "none" });

/** Format seconds as 0:07, 12:07 or 1:02:07. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole >= 3600 ? 2 : 1, "0");
  const hours = whole >= 3600 ? `${Math.floor(whole / 3600)}:` : "";
  return `${hours}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

/** Format bytes as a number of megabytes with one decimal, without the unit. */
export const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

/** Format the size of a file: "2.1 MB", "75 MB" or "1.5 GB". */
export function fileSize(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  return bytes >= 10e6 ? `${Math.round(bytes / 1e6)} MB` : `${megabytes(bytes)} MB`;
}

/**
 * Return the English name of a language: the browser's, otherwise the model's with capitals, otherwise the code.
 * `known` is `Whisper.languages`.
 */
export function languageName(code, known) {
  const name = languageNames.of(code);
  if (name) return name;
  const found = known.find(([each]) => each === code)?.[1] ?? code;
  return found.replace(/\b[a-z]/g, (letter) => letter.toUpperCase());
}

// The URL of whisper_apr's wheel for Pyodide, or null if the option `wheel` of `Whisper.load`, or settings.json, names
// it. In the npm package, where the wheel is a file beside this one, npm/build.mjs replaces this file.

export const WHEEL = null;

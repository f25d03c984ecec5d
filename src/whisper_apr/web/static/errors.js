// Errors of the engine, and of the browser's decoders.

/** An error whose name is that of the Python exception, such as AudioError. */
export class WhisperError extends Error {
  constructor({ kind, message }) {
    super(message);
    this.name = kind;
  }
}

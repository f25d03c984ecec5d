// The kernels for relaxed SIMD, the instructions of WebAssembly with which integers are multiplied faster.

/** The backend's name in Python. */
export const BACKEND = "wasm128relaxed";

// A module with a function of three vectors that uses two of the instructions:
// i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, f32x4.relaxed_madd(a, b, c))
const PROBE = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 8, 1, 0x60, 3, 0x7b, 0x7b, 0x7b, 1, 0x7b], // its type
  ...[3, 2, 1, 0],
  ...[10, 20, 1, 18, 0, 0x20, 0, 0x20, 1, 0x20, 0, 0x20, 1, 0x20, 2, 0xfd, 0x85, 2, 0xfd, 0x93, 2, 0x0b], // its code
);

/** Return whether the browser has relaxed SIMD. */
export const hasRelaxedSimd = () => WebAssembly.validate(PROBE);

"""The ground floor: the compiled kernels, and the same operations in NumPy. Use `whisper_apr.simd`, which checks and documents."""

"""The compiled kernels and their C sources. Use `whisper_apr.simd`, which validates arguments and documents them."""

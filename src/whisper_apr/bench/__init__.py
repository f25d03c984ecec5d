"""Benchmarks of the kernels and the pipeline: the command `whisper-apr bench`, and the basis of benchmarks/."""

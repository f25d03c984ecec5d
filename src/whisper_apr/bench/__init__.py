"""How fast this machine runs the kernels and the pipeline: `whisper-apr bench`, and what benchmarks/ builds on."""

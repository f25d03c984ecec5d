"""The stages of one window; `python benchmarks/pipeline.py --random tiny base small --compute-type float32 int8 --threads 1 2`."""

from whisper_apr.bench.pipeline import main

if __name__ == "__main__":
    main()

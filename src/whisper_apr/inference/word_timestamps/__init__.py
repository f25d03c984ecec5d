"""Word times.

- `alignment`: cross-attention and dynamic time warping, as in openai-whisper's timing.py.
- `words`: the default times, aligned within each segment and corrected by `rebalance` (each word gets its share of the
  sound) and `loudness` (boundaries lie where the sound starts and ends).
- `openai_timing`: openai-whisper's own times, `word_timing="openai"`.
"""

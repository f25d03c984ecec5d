"""Inference: from a recording to segments of text.

The modules, in the order in which a recording passes through them:

- `transcribe`: one recording; `transcribe_many`: several in one batch; `live`: audio while it arrives.
- `options`, `keywords`: the options and their defaults. `results`: words, segments, transcriptions.
- `audio_source`: samples in blocks. `vad_filter`: without silence. `spectrogram`: log-mel frames, read forward.
- `windows`: the seek loop; decides where each window starts. `window_text`: a window, and its text in segments.
- `slices`: cuts a recording into slices that are decoded independently.
- `batch`: windows of several sequences decoded at once. `journal`: windows decoded in an earlier run.
- `fallback`: decoding at rising temperatures, and silence. `decode`: prompts and results of windows.
- `generation`: the tokens of several windows, one of each at a time.
- `search`: greedy search, sampling, beam search. `logit_filters`, `hotwords`: which tokens are allowed or favored.
- `language`: language detection.
- `word_timestamps`: word times. `bounds`: times in order and within the sound.
- `hallucination`: improbable words over silence. `spoken_text`: text that nobody says, by `speech_evidence` and
  `repetition`.
- `recording_info`: numbers segments, converts their times, merges channels.
"""

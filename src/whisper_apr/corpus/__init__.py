"""Transcribe corpora of thousands of hours into shards of records. The command is `whisper-apr corpus`.

`items` finds the recordings, `work` is what a worker does with one, `local` and `ray_engine` run workers on this
machine and on a Ray cluster, `shards` writes what they return, and `run` drives them.
"""

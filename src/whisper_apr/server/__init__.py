"""The HTTP server of `whisper-apr serve`, with OpenAI's audio API. Needs the extra `server`.

One model serves all requests. The event loop (`app`, `endpoints`) reads uploads into temporary files (`uploads`) and
checks their parameters (`parameters`); the scheduler's threads open recordings, and decode windows of all of them in
one batch (`scheduler`); results come back through a queue of each job (`jobs`) and are written in the format that was
asked for (`responses`).

Live speech goes another way: WebSockets (`websockets`) pass samples to a LiveTranscriber of their own, in other threads
(`live_audio`); `realtime_session` speaks OpenAI's protocol, and `wyoming` Home Assistant's.
"""

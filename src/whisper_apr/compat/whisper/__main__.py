"""Run openai-whisper's command: `python -m whisper_apr.compat.whisper`."""

from .transcribe import cli

cli()

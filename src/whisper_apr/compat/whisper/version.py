"""The version of openai-whisper whose names this package has."""

__version__ = "20250625"

"""The version of faster-whisper whose names these modules have."""

__version__ = "1.2.1"

"""The network: from a log-mel spectrogram to logits. It does not know the meaning of any token."""

from .whisper import Whisper

__all__ = ["Whisper"]

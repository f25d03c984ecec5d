"""The network: mel in, logits out. It knows no token's meaning."""

from .whisper import Whisper

__all__ = ["Whisper"]

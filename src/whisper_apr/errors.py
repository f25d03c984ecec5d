"""The errors that whisper_apr raises. Each message says what is wrong, where, and what to do."""


class WhisperAprError(Exception):
    """Base of every error that this package raises on purpose."""


class AudioError(WhisperAprError, ValueError):
    """A recording that cannot be read: no sound in it, damaged, of an unknown kind, or with samples that are not numbers."""


class AudioWarning(UserWarning):
    """A recording that was read, but not as its header promises: damaged, cut short, or with samples of a doubtful scale.

    `strict=True` turns what would be this warning into an AudioError.
    """


class FormatError(WhisperAprError, ValueError):
    """A model file that is damaged, hostile, incomplete, or of a kind that is not known."""


class ModelNotFoundError(WhisperAprError, FileNotFoundError):
    """A model's name or path that leads to no file: unknown, not in the cache, or not to be fetched."""


class BackendError(WhisperAprError, ValueError):
    """A kernel backend that does not exist or that this CPU cannot run."""


class OutputError(WhisperAprError, OSError):
    """A result that cannot be written: its folder is missing or not writable, something else is in its place, or the disk is full.

    `__cause__` is the operating system's error, where there was one.
    """


class OptionError(WhisperAprError, ValueError):
    """An option with a value that is not allowed, or that contradicts another."""

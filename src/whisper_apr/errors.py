"""Exceptions and warnings of whisper_apr. Each message says what is wrong, where, and what to do about it."""


class WhisperAprError(Exception):
    """Base class of the exceptions that whisper_apr raises on purpose."""


class AudioError(WhisperAprError, ValueError):
    """A recording cannot be read: damaged, without audio, of an unknown format, or with samples not finite."""


class AudioWarning(UserWarning):
    """A recording was read although it is damaged, cut short, or at a doubtful scale.

    With `strict=True` an AudioError is raised instead.
    """


class FormatError(WhisperAprError, ValueError):
    """A model file is damaged, malicious, incomplete, or in an unknown format."""


class ModelNotFoundError(WhisperAprError, FileNotFoundError):
    """No model has this name or path, or it is neither cached nor downloadable."""


class BackendError(WhisperAprError, ValueError):
    """A kernel backend does not exist, or this CPU cannot run it."""


class OutputError(WhisperAprError, OSError):
    """A result cannot be written.

    Causes are a directory that is missing or not writable, an existing path that is not a regular file, or a full disk.
    `__cause__` is the operating system's error, if there was one.
    """


class OptionError(WhisperAprError, ValueError):
    """An option is unknown, has a value that is not allowed, or conflicts with another option."""

"""One family of errors, each also of the standard library's kind that callers may already catch."""

import inspect

import pytest

import whisper_apr
from whisper_apr import errors

KINDS = {
    errors.AudioError: ValueError,
    errors.FormatError: ValueError,
    errors.ModelNotFoundError: FileNotFoundError,
    errors.BackendError: ValueError,
    errors.OutputError: OSError,
    errors.OptionError: ValueError,
}


def test_every_error_is_of_the_family() -> None:
    classes = {value for _, value in inspect.getmembers(errors, inspect.isclass)}
    classes -= {errors.AudioWarning}
    assert classes - {errors.WhisperAprError} == set(KINDS)
    for error, standard in KINDS.items():
        assert issubclass(error, errors.WhisperAprError)
        assert issubclass(error, standard)
        assert error.__doc__


@pytest.mark.parametrize("error", KINDS)
def test_the_message_is_what_is_printed(error: type[errors.WhisperAprError]) -> None:
    """FileNotFoundError would print its arguments otherwise."""
    assert str(error("model.pt: no such file")) == "model.pt: no such file"


def test_no_error_is_of_two_kinds() -> None:
    for a in KINDS:
        assert [b for b in KINDS if issubclass(a, b)] == [a]


def test_a_warning_is_no_error() -> None:
    """A program that filters warnings by category must not catch it with the errors, nor the errors with it."""
    assert issubclass(errors.AudioWarning, UserWarning)
    assert not issubclass(errors.AudioWarning, errors.WhisperAprError)


def test_every_error_can_be_imported_from_the_package() -> None:
    for error in (errors.WhisperAprError, errors.AudioWarning, *KINDS):
        assert error.__name__ in whisper_apr.__all__
        assert getattr(whisper_apr, error.__name__) is error

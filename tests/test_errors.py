"""The exceptions share one base class, and each also has one of the standard library that callers may catch."""

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


def test_every_error_has_both_base_classes() -> None:
    classes = {value for _, value in inspect.getmembers(errors, inspect.isclass)}
    classes -= {errors.AudioWarning}
    assert classes - {errors.WhisperAprError} == set(KINDS)
    for error, standard in KINDS.items():
        assert issubclass(error, errors.WhisperAprError)
        assert issubclass(error, standard)
        assert error.__doc__


@pytest.mark.parametrize("error", KINDS)
def test_message_is_printed_unchanged(error: type[errors.WhisperAprError]) -> None:
    """FileNotFoundError and OSError would otherwise format their arguments."""
    assert str(error("model.pt: no such file")) == "model.pt: no such file"


def test_no_error_is_a_subclass_of_another() -> None:
    for a in KINDS:
        assert [b for b in KINDS if issubclass(a, b)] == [a]


def test_warning_is_not_an_error() -> None:
    """So that `except WhisperAprError` and a filter for warnings do not catch each other's class."""
    assert issubclass(errors.AudioWarning, UserWarning)
    assert not issubclass(errors.AudioWarning, errors.WhisperAprError)


def test_every_error_can_be_imported_from_the_package() -> None:
    for error in (errors.WhisperAprError, errors.AudioWarning, *KINDS):
        assert error.__name__ in whisper_apr.__all__
        assert getattr(whisper_apr, error.__name__) is error

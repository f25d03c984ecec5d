"""Signatures and docstrings of functions that take their options as a TypedDict."""

import inspect
from dataclasses import dataclass
from typing import TypedDict, Unpack

from whisper_apr.option_docs import documented, list_options, same_as


@dataclass
class Options:
    """Options of an example.

    Attributes:
        size: Number of items: at least 1,
            at most 9.
        name: A name.

    Raises:
        ValueError: Never.
    """

    size: int = 1
    name: str | None = None


class NameKeywords(TypedDict, total=False):
    name: str | None


class Keywords(NameKeywords, total=False):
    size: int


@list_options(Options)
def function(model: object, *, verbose: bool = False, **options: Unpack[Keywords]) -> None:
    """Do something.

    Args:
        model: The model.
        verbose: Whether to tell.
        **options: Fields of Options.
    """


class Model:
    @same_as(function)
    def method(self, **options: Unpack[Keywords]) -> None:
        """See function."""


def test_entries_of_a_section() -> None:
    assert documented(Options) == {"size": "Number of items: at least 1, at most 9.", "name": "A name."}
    assert documented(function) == {"model": "The model.", "verbose": "Whether to tell."}
    assert documented(Keywords) == {}


def test_the_signature_lists_the_options_with_their_defaults() -> None:
    parameters = inspect.signature(function).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == {
        "model": inspect.Parameter.empty,
        "verbose": False,
        "name": None,
        "size": 1,
    }
    assert parameters["size"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["name"].annotation == str | None


def test_the_docstring_lists_the_options() -> None:
    doc = inspect.getdoc(function) or ""
    assert doc.endswith(
        "\n\nOptions:\n    name: A name. Default: None.\n    size: Number of items: at least 1, at most 9. Default: 1."
    )


def test_a_method_is_described_as_its_function() -> None:
    assert Model.method.__doc__ == function.__doc__
    assert list(inspect.signature(Model.method).parameters) == ["self", "verbose", "name", "size"]
    assert list(inspect.signature(Model().method).parameters) == ["verbose", "name", "size"]

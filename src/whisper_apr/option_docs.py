"""Signatures and docstrings that list options which a function takes as `**options: Unpack[SomeKeywords]`.

Type checkers and editors read the options from the TypedDict. At run time `inspect.signature` and `help` would show
`**options` only; the decorators here expand it, with defaults and descriptions from the dataclasses of options.
"""

import inspect
import re
from collections.abc import Callable
from functools import cache
from textwrap import fill
from typing import Any, TypeVar, get_args, get_type_hints

Function = TypeVar("Function", bound=Callable[..., Any])

_ENTRY = re.compile(r"    (\w+): (.*)")


def documented(source: Callable[..., Any], sections: str = "Args|Attributes") -> dict[str, str]:
    """Return the entries of a section of a function's or class's docstring, by name, each as one line."""
    section = re.split(rf"\n(?:{sections}):\n", inspect.cleandoc(source.__doc__ or "") + "\n", maxsplit=1)[-1]
    docs: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if entry := _ENTRY.fullmatch(line):
            name = entry[1]
            docs[name] = entry[2]
        elif line.startswith("        "):
            docs[name] += " " + line.strip()
        elif line.strip():
            break
    return docs


@cache  # several functions have the same options
def _wrap(entry: str) -> str:
    return fill(entry, 112, initial_indent=" " * 4, subsequent_indent=" " * 8)


def _append_options(function: Callable[..., Any], parameters: list[inspect.Parameter], docs: dict[str, str]) -> None:
    """Append a section of options, with their descriptions and defaults, to a function's docstring."""
    entries = [f"{each.name}: {docs.get(each.name, '')} Default: {each.default!r}." for each in parameters]
    wrapped = [_wrap(entry) for entry in entries]
    function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", "Options:", *wrapped])


def list_options(*sources: Callable[..., Any]) -> Callable[[Function], Function]:
    """Return a decorator that lists a function's options in its signature and its docstring.

    A parameter of the function itself that its docstring does not describe is listed too.

    Args:
        sources: Dataclasses of options and functions with keyword arguments. The first that has an option provides its
            default and its description.
    """
    defaults: dict[str, Any] = {}
    types: dict[str, Any] = {}
    docs: dict[str, str] = {}
    for source in reversed(sources):
        defaults |= {name: parameter.default for name, parameter in inspect.signature(source).parameters.items()}
        types |= get_type_hints(source)  # a dataclass's types are those of its values, without NumPy's numbers
        docs |= documented(source)

    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        *own, variadic = signature.parameters.values()
        (keywords,) = get_args(variadic.annotation)  # of Unpack[...]
        listed = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name], annotation=types[name])
            for name in keywords.__annotations__
        ]
        function.__signature__ = signature.replace(parameters=[*own, *listed])  # type: ignore[attr-defined]
        if function.__doc__:
            described = documented(function)
            undescribed = [each for each in own if each.name in docs and each.name not in described]
            _append_options(function, [*undescribed, *listed], docs)
        return function

    return decorate


def described_by(source: Callable[..., Any]) -> Callable[[Function], Function]:
    """Return a decorator that appends descriptions of `source` for parameters that a function's docstring lacks."""

    def decorate(function: Function) -> Function:
        if function.__doc__:
            own, docs = documented(function), documented(source)
            parameters = inspect.signature(function).parameters.values()
            _append_options(function, [each for each in parameters if each.name in docs.keys() - own.keys()], docs)
        return function

    return decorate


def same_as(original: Callable[..., Any]) -> Callable[[Function], Function]:
    """Return a decorator for a method that passes its arguments to `original`, which takes the model first.

    The method gets the signature and the docstring of `original`.
    """

    def decorate(method: Function) -> Function:
        signature = inspect.signature(original)
        model, *others = signature.parameters.values()
        parameters = [model.replace(name="self"), *others]
        method.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        method.__doc__ = original.__doc__
        return method

    return decorate

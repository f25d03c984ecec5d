"""Signatures and docstrings that list options which a function takes as `**options: Unpack[SomeKeywords]`.

Type checkers and editors read the options from the TypedDict. At run time `inspect.signature` and `help` would show
`**options` only; the decorators here expand it, with defaults and descriptions from the dataclasses of options.
"""

import inspect
import re
from collections.abc import Callable
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


def list_options(*sources: Callable[..., Any]) -> Callable[[Function], Function]:
    """Return a decorator that lists a function's options in its signature and its docstring.

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
            entries = [f"{each.name}: {docs.get(each.name, '')} Default: {each.default!r}." for each in listed]
            wrapped = [fill(entry, 112, initial_indent=" " * 4, subsequent_indent=" " * 8) for entry in entries]
            function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__), "", "Options:", *wrapped])
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

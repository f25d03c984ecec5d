"""List the options that a function takes as `**options: Unpack[SomeKeywords]` in the reference.

Names, types, defaults and descriptions come from the function itself: `whisper_apr.option_docs` adds them to its
signature and its docstring at run time, which griffe does not see.
"""

import inspect
import re
from pydoc import locate
from typing import Any

import griffe

from whisper_apr.option_docs import documented


class OptionDocs(griffe.Extension):
    """An extension that expands the last parameter of functions whose options are listed."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Replace `**options` by the options, in the signature and in the section about parameters."""
        variadic = [each for each in func.parameters if each.kind is griffe.ParameterKind.var_keyword]
        function = locate(func.path) if variadic else None
        options = documented(function, "Options") if callable(function) else {}
        if not options or func.docstring is None:
            return
        docs = documented(function) | options
        sections = func.docstring.parsed  # before the parameter is removed, as the docstring describes it
        entries = [each.value for each in sections if each.kind is griffe.DocstringSectionKind.parameters]
        if not entries:
            entries = [[]]
            sections.append(griffe.DocstringSectionParameters(entries[0]))
        del func.parameters[variadic[0].name]
        entries[0][:] = [each for each in entries[0] if each.name.lstrip("*") != variadic[0].name]
        for name, parameter in inspect.signature(function).parameters.items():
            if name not in options:
                continue
            kind = re.sub(r"\b(?:[a-z_]+\.)+", "", inspect.formatannotation(parameter.annotation))
            value = "lambda: None" if callable(parameter.default) else repr(parameter.default)
            text = docs[name].removesuffix(f" Default: {value}.")
            if name not in {each.name for each in func.parameters}:
                func.parameters.add(
                    griffe.Parameter(name, annotation=kind, kind=griffe.ParameterKind.keyword_only, default=value)
                )
            entries[0].append(griffe.DocstringParameter(name, description=text, annotation=kind, value=value))

"""The names of openai-whisper and faster-whisper that a source uses."""

import ast
import warnings

PACKAGES = ("whisper", "faster_whisper")


def uses(source: str) -> set[tuple[str, str]]:
    """Return each (module, name) of the two packages that a source imports, or reaches as an attribute of one."""
    found = set()
    modules: dict[str, str] = {}  # name in the source -> module
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in the source
        tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] in PACKAGES:
            found |= {(str(node.module), alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] in PACKAGES:
                    found.add((alias.name, "__name__"))
                    top = alias.name.split(".")[0]
                    modules[alias.asname or top] = alias.name if alias.asname else top
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add((modules[node.value.id], node.attr))
    return found

"""A model's card: the README.md beside it, which says its license."""

import re
from pathlib import Path

_MAX_BYTES = 64 << 10  # of the card's beginning; what is sought stands in its first lines
_MAX_LICENSE = 200
_FIELD = re.compile(r"^(license|license_name|license_link):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def read_license(card: Path) -> str:
    """What the YAML at the head of a card has as `license`, such as "apache-2.0"; nothing where there is none.

    The hub's "other" is followed by the name and the address that the card gives it.
    """
    try:
        with open(card, "rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
    if not text.startswith("---\n"):
        return ""
    found: dict[str, str] = {key: value.strip("\"'") for key, value in _FIELD.findall(text[: text.find("\n---", 3)])}
    license = found.get("license", "")
    if license == "other":
        license = " ".join([license, *(found[key] for key in ("license_name", "license_link") if key in found)])
    return license[:_MAX_LICENSE]

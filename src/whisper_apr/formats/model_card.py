"""Read a model's license from its model card, the README.md in its folder."""

import re
from pathlib import Path

_MAX_BYTES = 64 << 10  # read from the start of the card; the YAML front matter is within
_MAX_LICENSE = 200  # characters
_FIELD = re.compile(r"^(license|license_name|license_link):[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)


def read_license(card: Path) -> str:
    """Return the license in a model card's YAML front matter.

    Args:
        card: Path of the card, which need not exist.

    Returns:
        The `license` field, such as "apache-2.0"; empty if there is none. The Hugging Face hub's value "other" is
        followed by the license's name and link if the card gives them.
    """
    try:
        with open(card, "rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return ""
    if not text.startswith("---\n"):
        return ""
    front_matter = text[: text.find("\n---", 3)]
    found: dict[str, str] = {key: value.strip("\"'") for key, value in _FIELD.findall(front_matter)}
    license = found.get("license", "")
    if license == "other":
        license = " ".join([license, *(found[key] for key in ("license_name", "license_link") if key in found)])
    return license[:_MAX_LICENSE]

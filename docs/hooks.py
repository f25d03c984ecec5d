"""Fill the command's reference page from the argument parser, so that it cannot differ from `--help`."""

import argparse
import os
from typing import Any

os.environ["COLUMNS"] = "100"  # argparse wraps help to it

MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Replace the marker in reference/command.md by the help of every command."""
    if page.file.src_uri != "reference/command.md":
        return markdown
    from whisper_apr.cli import make_parser

    parser = make_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    sections = [f"```text\n{parser.format_help()}```"]
    for name, command in commands.choices.items():
        sections.append(f"## {name}\n\n```text\n{command.format_help()}```")
    return markdown.replace(MARKER, "\n\n".join(sections))

"""The superuser may read and write everything: a test of permissions has to be somebody else for a moment."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Run a block as an ordinary user, who may enter `folder`, which pytest made for one user alone."""
    if os.geteuid():
        yield
        return
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)

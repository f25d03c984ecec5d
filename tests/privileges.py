"""Tests of permissions run as another user, because the superuser may read and write everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def without_privileges(folder: Path) -> Iterator[None]:
    """Run a block as an ordinary user, who is given access to `folder`."""
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

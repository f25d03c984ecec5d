"""Replaces itself by the package of `whisper_apr.compat` that has its name."""

import sys

from whisper_apr.compat import install

del sys.modules[__name__]
install()

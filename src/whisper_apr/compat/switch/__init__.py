"""A folder for the module search path: its modules replace those of the same name when they are imported.

`python -m whisper_apr.compat` puts it first in `sys.path` and in PYTHONPATH, so that processes that a program starts
find them too.
"""

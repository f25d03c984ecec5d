"""Run the command `whisper-apr` as `python -m whisper_apr`."""

import sys

from .cli import main

sys.exit(main())

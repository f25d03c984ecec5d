"""`python -m whisper_apr` is the command `whisper-apr`."""

import sys

from .cli import main

sys.exit(main())

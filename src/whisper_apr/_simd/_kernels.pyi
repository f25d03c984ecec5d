# The compiled kernels. whisper_apr.simd, their only caller, is typed; here nothing is checked.
from typing import Any

def __getattr__(name: str) -> Any: ...

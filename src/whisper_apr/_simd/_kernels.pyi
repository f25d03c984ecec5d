# The compiled kernels. Untyped: whisper_apr.simd, their only caller, is typed and validates arguments.
from typing import Any

def __getattr__(name: str) -> Any: ...

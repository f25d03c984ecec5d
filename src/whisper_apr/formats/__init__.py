"""Read model files of any supported format as checkpoints (dimensions and tensors), and write `.apr` files.

To add a format, write a module with a function that takes a path and returns a `Checkpoint`, whose tensors have
openai-whisper's names (`checkpoint.expected_shapes`), and recognize the format by its first bytes in
`detect.open_checkpoint`. `checkpoint.make_checkpoint` checks names and shapes; `byte_reader.py` checks bounds.
"""

from ..checkpoint import Checkpoint, ModelDimensions
from .apr import AprStream, read_apr, write_apr, write_apr_v1
from .detect import open_checkpoint

__all__ = ["AprStream", "Checkpoint", "ModelDimensions", "open_checkpoint", "read_apr", "write_apr", "write_apr_v1"]

"""Read model files of any supported format as checkpoints (dimensions and tensors), and write `.apr` files."""

from ..checkpoint import Checkpoint, ModelDimensions
from .apr import AprStream, read_apr, write_apr, write_apr_v1
from .detect import open_checkpoint

__all__ = ["AprStream", "Checkpoint", "ModelDimensions", "open_checkpoint", "read_apr", "write_apr", "write_apr_v1"]

"""Files become checkpoints, dimensions and tensors, and checkpoints become `.apr` files."""

from ..checkpoint import Checkpoint, ModelDimensions
from .apr import read_apr, write_apr
from .apr_stream import AprStream
from .apr_v1 import write_apr_v1
from .detect import open_checkpoint

__all__ = ["AprStream", "Checkpoint", "ModelDimensions", "open_checkpoint", "read_apr", "write_apr", "write_apr_v1"]

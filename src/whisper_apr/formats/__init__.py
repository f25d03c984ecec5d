"""Files become checkpoints: dimensions and tensors."""

from .checkpoint import Checkpoint, ModelDimensions
from .opening import open_checkpoint

__all__ = ["Checkpoint", "ModelDimensions", "open_checkpoint"]

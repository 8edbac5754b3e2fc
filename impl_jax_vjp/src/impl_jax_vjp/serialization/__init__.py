"""Files of Tensors, and checkpoints of training."""

from .checkpoint import load_checkpoint, save_checkpoint
from .files import load, save

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]

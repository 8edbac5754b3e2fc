"""Files of parameters and checkpoints, in the safetensors format."""

from impl_cupy.serialization.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from impl_cupy.serialization.files import load, save

__all__ = ["Checkpoint", "load", "load_checkpoint", "save", "save_checkpoint"]

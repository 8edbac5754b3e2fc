"""Files of Tensors: state dicts, whole or in shards, and checkpoints of training."""

from impl_torch_ext.serialization.checkpoint import load_checkpoint, save_checkpoint
from impl_torch_ext.serialization.files import load, save

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]

"""Safetensors files: state dicts, in one file or in shards, and checkpoints of training."""

from impl_numpy.serialization.checkpoint import load_checkpoint, save_checkpoint
from impl_numpy.serialization.files import load, save

__all__ = ["load", "load_checkpoint", "save", "save_checkpoint"]

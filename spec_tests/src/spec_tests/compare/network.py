"""The networks, written once against the names that the specification shares with torch.nn."""

from __future__ import annotations

from typing import Any

from spec_tests.compare.workloads import Workload

__all__ = ["make_network"]


def make_network(nn: Any, workload: Workload, dtype: Any) -> Any:
    """Build the workload's network from an implementation, or from ``torch.nn``.

    Parameters
    ----------
    nn : module
        Has ``Module``, ``RNN``, ``LSTM``, ``GRU``, ``Linear`` and ``Embedding``. The layers of
        ``torch.nn`` know no lengths: a batch is packed for them.
    workload : Workload
    dtype
        The parameters' dtype, an attribute of the implementation or of torch.

    Returns
    -------
    Module
        Called with a batch of `Batches`: logits of shape (N, classes), or (T * N, classes).
    """
    recurrent = getattr(nn, workload.cell)

    class Classifier(nn.Module):
        """The last state of a recurrent layer, and a Linear."""

        def __init__(self) -> None:
            super().__init__()
            self.rnn = recurrent(workload.input_size, workload.hidden_size, dtype=dtype)
            self.head = nn.Linear(workload.hidden_size, workload.classes, dtype=dtype)

        def forward(self, images: Any) -> Any:
            output, _ = self.rnn(images)
            return self.head(output[-1])

    class LanguageModel(nn.Module):
        """An Embedding, a recurrent layer, and a Linear at every step."""

        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(workload.classes, workload.input_size, dtype=dtype)
            self.rnn = recurrent(workload.input_size, workload.hidden_size, dtype=dtype)
            self.head = nn.Linear(workload.hidden_size, workload.classes, dtype=dtype)

        def forward(self, tokens: Any) -> Any:
            output, _ = self.rnn(self.embedding(tokens))
            return self.head(output).reshape((-1, workload.classes))

    class Tagger(nn.Module):
        """An Embedding, a recurrent layer over sequences of their lengths, and a Linear."""

        def __init__(self) -> None:
            super().__init__()
            sizes = workload.input_size, workload.hidden_size
            self.embedding = nn.Embedding(workload.vocabulary, workload.input_size, dtype=dtype)
            self.rnn = recurrent(*sizes, **workload.options, dtype=dtype)
            width = workload.hidden_size * (2 if workload.bidirectional else 1)
            self.head = nn.Linear(width, workload.classes, dtype=dtype)

        def forward(self, tokens: Any) -> Any:
            output = over_lengths(nn, self.rnn, self.embedding(tokens), (tokens != 0).sum(0))
            return self.head(output).reshape((-1, workload.classes))

    made = {"digits": Classifier, "pydoc": LanguageModel, "truecase": Tagger}
    return made[workload.dataset]()


def over_lengths(nn: Any, layer: Any, x: Any, lengths: Any) -> Any:
    """Return the output (T, N, D H) of a layer for sequences of such lengths (N,), 0 past them."""
    if nn.__name__ != "torch.nn":
        return layer(x, lengths=lengths)[0]
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    packed, _ = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    return pad_packed_sequence(packed, total_length=len(x))[0]

"""Functions of torch.nn.functional with one planted fault each, after faults that were shipped.

``FAULTS`` are rows of the table of real faults, ``UNLISTED`` more of the same kinds. Every function
has torch's signature, takes and gives torch tensors, and is torch's answer wherever its fault does
not bite. The rows say how a fault is seen; an oracle gets the functions and nothing else.
"""

from __future__ import annotations

from . import (
    backward,
    conv,
    layout,
    memory,
    moves,
    numerics,
    pool,
    transposed,
    unlisted_conv,
    unlisted_grad,
    unlisted_moves,
    unlisted_numerics,
    unlisted_pool,
    unlisted_state,
    unlisted_transposed,
)
from .row import ROWS, Fault

FAULTS = [row for row in ROWS if not row.id.startswith("U")]
UNLISTED = [row for row in ROWS if row.id.startswith("U")]

# Faults of the table that a function with torch's signature cannot show.
NOT_PLANTABLE = {
    "S07": "torch.nn.functional's transposed convolutions have no output_size; only the modules do",
    "E07": "torch's engine refuses a grad_output of another shape before any backward runs",
}

__all__ = [
    "FAULTS",
    "NOT_PLANTABLE",
    "UNLISTED",
    "Fault",
    "backward",
    "conv",
    "layout",
    "memory",
    "moves",
    "numerics",
    "pool",
    "transposed",
    "unlisted_conv",
    "unlisted_grad",
    "unlisted_moves",
    "unlisted_numerics",
    "unlisted_pool",
    "unlisted_state",
    "unlisted_transposed",
]

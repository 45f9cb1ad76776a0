"""Functions that workers load by name: right, wrong, and deadly."""

from __future__ import annotations

import os
import signal

import torch.nn.functional as F


def wrong(input, kernel_size, dilation=1, padding=0, stride=1):
    """Stride and dilation are only right one at a time."""
    both = dilation not in (1, (1, 1)) and stride not in (1, (1, 1))
    return F.unfold(input, kernel_size, 1 if both else dilation, padding, stride)


def dies(input, kernel_size, dilation=1, padding=0, stride=1):
    """Kills its process in calls of a certain kind."""
    if stride == (3, 4):
        os.kill(os.getpid(), signal.SIGKILL)
    return F.unfold(input, kernel_size, dilation, padding, stride)

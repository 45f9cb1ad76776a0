"""Tensors that end where memory ends: reading one element too far is a fault, not a lucky guess."""

from __future__ import annotations

import ctypes
import mmap

import numpy as np
import torch

_libc = ctypes.CDLL(None, use_errno=True)
_PROT_NONE = 0
_kept: list[mmap.mmap] = []


def fenced(x: torch.Tensor, before: bool = False) -> torch.Tensor:
    """A contiguous copy of ``x`` with a page that may not be touched right behind it.

    Args:
        before: the page is in front of it instead.
    """
    size = x.numel() * x.element_size()
    if size == 0:
        return x
    page = mmap.PAGESIZE
    whole = -(-size // page) * page
    memory = mmap.mmap(-1, whole + page)
    _kept.append(memory)  # never unmapped: the pages are small, and tensors point into them
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fence, first = (start, page) if before else (start + whole, whole - size)
    if _libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), _PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect")
    flat = torch.from_numpy(np.frombuffer(memory, np.uint8, size, first)).view(x.dtype)
    return flat.view(x.shape).copy_(x)

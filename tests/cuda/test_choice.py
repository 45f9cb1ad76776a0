"""What is chosen for a GPU, and for how large a one: the order of the slot table, which a table of
problems makes readable, and the number of multiprocessors.
"""

from __future__ import annotations

from types import SimpleNamespace

import torch

from refconv import dispatch, label, memory
from refconv.backends import _cuda_stream

LARGE = "conv2d x[64,64,56,56] w[64,64,3,3] p1"


def test_blocks_are_for_the_gpu_s_own_multiprocessors() -> None:
    """Few of them take larger tiles."""
    call = dispatch.prepare(label.parse(LARGE), "conv_fprop", "cuda-on-cpu:igemm", "cpu")
    names, shapes = (*call.outputs, *call.inputs[:2]), (*call.out_shapes, *call.in_shapes[:2])
    strides = {n: memory.contiguous(s) for n, s in zip(names, shapes, strict=True)}
    sides = [dict(call.launches(strides, multiprocessors=n)[0].macros) for n in (16, 2000)]
    assert [(s["TILE_M"], s["TILE_N"]) for s in sides] == [("128", "64"), ("64", "64")]


def test_the_gpu_is_asked(monkeypatch) -> None:
    """By the library that the array is of; a run asks before it plans."""
    runtime = SimpleNamespace(
        cudaDevAttrMultiProcessorCount=16,
        deviceGetAttribute=lambda what, at: 10 * what + at,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(_cuda_stream.sys.modules, "cupy", cupy)
    of_cupy = SimpleNamespace(device=SimpleNamespace(id=3))
    assert _cuda_stream.multiprocessors(of_cupy) == 163
    properties = lambda device: SimpleNamespace(multi_processor_count=40 + device)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert _cuda_stream.multiprocessors(torch.empty(1, device="cuda:1")) == 41
    _cuda_stream._of_torch.cache_clear()
    _cuda_stream._of_cupy.cache_clear()

"""What is chosen for a GPU, and for how large a one: the order of the slot table, which a table of
problems makes readable, and the number of multiprocessors.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import refconv as rc
from refconv import dispatch, label, memory
from refconv.backends import _cuda_cost, _cuda_stream
from refconv.backends._cuda_slots import TABLE

#: What is chosen on a T4, an A100, an RTX 4090 and an H200, and why.
CHOSEN = """
# 3x3, 64 channels: tensor cores, but where TF32 is no faster than float32 (4090) or is not (T4)
float32  conv_fprop conv2d x[256,64,56,56] w[64,64,3,3] p1: igemm igemm_tf32x3 igemm igemm_tf32x3
bfloat16 conv_fprop conv2d x[256,64,56,56] w[64,64,3,3] p1: igemm igemm_mma igemm_mma igemm_wgmma
# 3x3, 512 channels: Winograd's workspaces are small beside its products
float32  conv_fprop conv2d x[256,512,7,7] w[512,512,3,3] p1: winograd_f2 igemm_tf32x3 winograd_f2 winograd_f2
float64  conv_fprop conv2d x[256,512,7,7] w[512,512,3,3] p1: winograd_f2 winograd_f2 winograd_f2 winograd_f2
# 1x1: bound by memory on an H200, where float32 would have to be packed for tensor cores
float32  conv_fprop conv2d x[256,256,56,56] w[64,256,1,1]: igemm igemm_tf32x3 igemm igemm
float16  conv_fprop conv2d x[256,256,56,56] w[64,256,1,1]: igemm igemm_mma igemm igemm_wgmma
# three input channels: tensor cores would multiply five zeros with them, which they can afford
float32  conv_fprop conv2d x[256,3,224,224] w[64,3,7,7] s2 p3: igemm stem stem stem
bfloat16 conv_fprop conv2d x[256,3,224,224] w[64,3,7,7] s2 p3: igemm igemm_mma stem igemm_mma
# depthwise, and groups of more
float32  conv_fprop conv2d x[256,256,56,56] w[256,1,3,3] p1 g256: depthwise depthwise depthwise depthwise
float32  conv_dgrad conv2d x[256,256,56,56] w[256,1,3,3] p1 g256: depthwise depthwise depthwise depthwise
bfloat16 conv_wgrad conv2d x[256,256,56,56] w[256,1,3,3] p1 g256: depthwise depthwise depthwise depthwise
float32  conv_fprop conv2d x[64,64,56,56] w[64,16,3,3] p1 g4: igemm igemm igemm igemm
# few output channels: most of a tile would be empty
float32  conv_fprop conv2d x[64,8,56,56] w[4,8,3,3] p1: shared shared shared shared
# one image: launches count
float32  conv_fprop conv2d x[1,64,56,56] w[64,64,3,3] p1: igemm igemm_tf32x3 igemm igemm
float32  conv_fprop conv2d x[1,16,14,14] w[16,16,3,3] p1: igemm igemm igemm igemm
# other passes; 3-D and a large stride
float32  conv_wgrad conv2d x[256,64,56,56] w[64,64,3,3] p1: igemm igemm_tf32x3 igemm igemm_tf32x3
bfloat16 conv_wgrad conv2d x[256,64,56,56] w[64,64,3,3] p1: igemm igemm_mma igemm_mma igemm_mma
float16  conv_dgrad conv_transpose2d x[256,256,8,8] w[256,128,4,4] s2 p1: igemm igemm_mma igemm_mma igemm_wgmma
float32  conv_fprop conv3d x[8,32,16,28,28] w[64,32,3,3,3] p1: igemm igemm_tf32x3 igemm igemm_tf32x3
"""  # noqa: E501
GPUS = ("sm_75", "sm_80", "sm_89", "sm_90")
LINES = [line for line in CHOSEN.strip().splitlines() if not line.startswith("#")]
LARGE = "conv2d x[64,64,56,56] w[64,64,3,3] p1"


@pytest.mark.parametrize("line", LINES)
def test_what_is_chosen(line: str) -> None:
    """As ``refconv.algorithms`` says, which needs no GPU for it."""
    asked, _, names = line.partition(": ")
    dtype, slot, text = asked.split(maxsplit=2)
    problem = replace(label.parse(text), dtype=dtype)
    chosen = []
    for gpu in GPUS:
        rows = [r for r in rc.algorithms(problem, slot, gpu=gpu).rows if r.chosen]
        assert [r.why for r in rows] == ["predicted to be fastest"]
        chosen += [r.name.removeprefix("cupy:") for r in rows]
    assert chosen == names.split()


def test_the_listing_says_what_a_gpu_cannot() -> None:
    listing = rc.algorithms("conv2d x[1,64,9,9] w[64,64,3,3] bfloat16", gpu="sm_75")
    rows = {r.name: r for r in listing.rows}
    assert rows["cupy:igemm_mma"].reason == "it needs sm_80 or newer, and this GPU is sm_75"
    assert sum(r.chosen for r in listing.rows) == 1
    assert "conv_fprop, strict, sm_75\n" in str(listing)
    (row,) = rc.algorithms("max_pool3d x[1,2,8,8,8] k2", gpu="sm_90").rows[1:]
    assert (row.name, row.chosen, row.microseconds) == ("cupy:windows", True, None)
    with pytest.raises(rc.UsageError, match="such as 'sm_90', got 'h200'"):
        rc.algorithms("max_pool2d x[1,2,8,8] k2", gpu="h200")
    nothing = rc.algorithms("conv2d x[1,1,9,9] w[1,1,3,3] int32", gpu="sm_90").rows
    assert not any(r.chosen or r.applies for r in nothing)


@pytest.mark.parametrize("gpu", ["sm_60", "sm_70", "sm_87", "sm_90", "sm_103", "sm_130"])
def test_every_step_of_convolution_has_a_prediction(gpu: str) -> None:
    """A finite one, of nothing too: on cards that are not in the table as on those that are."""
    for slot in ("conv_fprop", "conv_dgrad", "conv_wgrad"):
        for step in TABLE[slot]:
            for n in (0, 1, 4096):
                problem = label.parse(f"conv2d x[{n},64,9,9] w[64,64,3,3] s2")
                assert 0 < _cuda_cost.seconds(step.name, problem, slot, gpu) < 60


def test_blocks_are_for_the_gpu_s_own_multiprocessors() -> None:
    """Few of them take larger tiles."""
    call = dispatch.prepare(label.parse(LARGE), "conv_fprop", "cuda-on-cpu:igemm", "cpu")
    names, shapes = (*call.outputs, *call.inputs[:2]), (*call.out_shapes, *call.in_shapes[:2])
    strides = {n: memory.contiguous(s) for n, s in zip(names, shapes, strict=True)}
    sides = [dict(call.launches(strides, multiprocessors=n)[0].macros) for n in (16, 2000)]
    assert [(s["TILE_M"], s["TILE_N"]) for s in sides] == [("128", "64"), ("64", "64")]


def test_the_gpu_is_asked(monkeypatch) -> None:
    """By the library that the array is of; a run asks before it plans."""
    properties = lambda device: SimpleNamespace(multi_processor_count=40 + device)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True):
        assert _cuda_stream.multiprocessors(torch.empty(1, device="cuda:1")) == 41
    # Behind torch, which imports what would look for the real CuPy.
    runtime = SimpleNamespace(
        cudaDevAttrMultiProcessorCount=16,
        deviceGetAttribute=lambda what, at: 10 * what + at,
    )
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime))
    monkeypatch.setitem(_cuda_stream.sys.modules, "cupy", cupy)
    of_cupy = SimpleNamespace(device=SimpleNamespace(id=3))
    assert _cuda_stream.multiprocessors(of_cupy) == 163
    _cuda_stream._of_torch.cache_clear()
    _cuda_stream._of_cupy.cache_clear()

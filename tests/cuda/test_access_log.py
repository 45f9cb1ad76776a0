"""The access log: what threads read and write, of small kernels and of the ladder."""

from itertools import product

import numpy as np
import pytest

from refconv import dispatch, label, memory
from refconv.backends import _cuda_access_log as access_log
from refconv.backends import _cuda_emulator as emulator
from refconv.backends._cuda_access_log import NOBODY, READ, WRITE, logged
from refconv.backends._cuda_launch import Launch
from refconv.errors import UnsupportedError, UsageError
from refconv.learn.threads import threads_of
from refconv.learn.trace import numbers
from refconv.learn.trace_cells import trace_at

pytestmark = pytest.mark.skipif(emulator.compiler() is None, reason="there is no C++ compiler")

KERNELS = """
#include "types.cuh"
#include "ptx.cuh"
extern "C" __global__ void strided(float *y, const float *x, int stride) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = x[i * stride];
}
extern "C" __global__ void both(float *y, const float *x, int unused) {
  __shared__ float kept[64];
  kept[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  const float v = kept[63 - threadIdx.x];
  y[threadIdx.x] = v;
  if (threadIdx.x == 5) y[6] = v;
  y[threadIdx.x] += 1;
}
extern "C" __global__ void later(float *y, const float *x, int unused) {
  DYN_SHARED(float, tile);
  copy_async_16(tile + threadIdx.x * 4, x + threadIdx.x * 4, true);
  copy_async_commit();
  copy_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x * 4];
}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One of the kernels above on 64 threads and 2 blocks: x, y and the log."""
    path = tmp_path_factory.mktemp("log") / "kernels.cu"
    path.write_text(KERNELS)

    def made(kernel, number=1, blocks=2, **which):
        x, y = np.arange(2048, dtype="f4"), np.full(256, np.nan, "f4")
        launch = Launch(str(path), kernel, (), (blocks, 1, 1), (64, 1, 1), ("y", "x", number), 4096)
        held = {"y": y, "x": x}
        watched = y.ctypes.data + 4 * which.pop("watch") if "watch" in which else 0
        log = logged(
            launch, {n: a.ctypes.data for n, a in held.items()},
            {n: a.nbytes for n, a in held.items()}, watched=watched, **which,
        )  # fmt: skip
        return x, y, log

    return made


def test_a_block_is_found_by_what_it_writes(run):
    """It is noted; blocks behind it do not run."""
    _, y, log = run("strided", 2, blocks=3, watch=70)
    assert log.block == (1, 0, 0)
    wrote, read = log.of("y", WRITE), log.of("x", READ)
    assert wrote["offset"].tolist() == [4 * (64 + t) for t in range(64)]
    assert read["offset"].tolist() == [8 * (64 + t) for t in range(64)]
    assert wrote["thread"].tolist() == list(range(64))
    assert y[:128].tolist() == [2.0 * i for i in range(128)]
    assert np.isnan(y[128:]).all()


def test_a_block_can_be_named(run):
    """Only that one runs. What nobody writes is found by nobody."""
    _, y, log = run("strided", 1, block=(1, 0, 0))
    assert len(log.accesses) == 128
    assert np.isnan(y[:64]).all()
    assert not np.isnan(y[64:128]).any()
    assert run("strided", 1, watch=200)[2] is None


def test_shared_memory_and_second_writes_are_seen(run):
    """A value that is read back, one element that two threads write."""
    _, _, log = run("both", blocks=1, watch=6)
    assert log.of("static shared", WRITE)["thread"].tolist() == list(range(64))
    back = log.of("static shared", READ)
    assert back["offset"].tolist() == [4 * (63 - t) for t in range(64)]
    assert back["value"][:, :4].copy().view("f4").ravel().tolist() == [63.0 - t for t in range(64)]
    wrote = log.of("y", WRITE)
    sixth = wrote[wrote["offset"] == 24]["thread"].tolist()
    assert sorted(sixth) == [5, 6, 6]


def test_asynchronous_copies_are_their_threads(run):
    """cp.async is a memcpy here, which the linker hands to the log."""
    _, y, log = run("later", blocks=1, watch=0)
    read = log.of("x", READ)
    assert set(read["size"].tolist()) == {16}
    assert read["thread"].tolist() == list(range(64))
    assert log.of("dynamic shared", WRITE)["offset"].tolist() == [16 * t for t in range(64)]
    assert not (log.accesses["thread"] == NOBODY).any()
    assert y[:64].tolist() == [4.0 * t for t in range(64)]


def test_a_log_that_is_too_long_is_refused(run, monkeypatch):
    monkeypatch.setattr(access_log, "MOST", 100)
    with pytest.raises(emulator.EmulatorError, match="more than 100 accesses"):
        run("both", blocks=1, watch=6)


#: Simple steps, and a problem for each.
STEPS = [
    ("conv2d x[1,2,5,5] w[3,2,3,3] b s2 p1", "direct"),
    ("conv2d x[1,4,4,3] w[2,2,2,3] p1,2 d1,2 g2", "direct"),
    ("conv2d x[1,2,5,5] w[3,2,3,3] b s2 p1", "shared"),
    ("conv2d x[1,3,6,7] w[3,1,3,3] b p1 g3", "depthwise"),
    ("conv_transpose2d x[1,2,3,3] w[2,2,3,3] b s2 p1 op1", "direct"),
    ("max_pool2d x[1,2,6,7] k3 s2 p1", "windows"),
    ("avg_pool2d x[1,2,6,7] k3 s2 p1 ceil", "windows"),
]


@pytest.mark.parametrize(("text", "step"), STEPS)
def test_a_thread_loads_exactly_its_window(text, step):
    """Of every output: the thread that writes it reads its window of x, from x or from shared
    memory, and, where it is alone, nothing else.
    """
    problem = label.parse(text)
    arrays = numbers(problem)
    every = list(product(*map(range, problem.output_shape)))
    for at in every[:: max(1, len(every) // 6)]:
        found = threads_of(trace_at(problem, arrays, at), f"cuda:{step}")
        assert found.window
        assert found.stores == 1
        if step in ("direct", "windows"):
            assert found.own == found.window
            uses = {u.name: u for u in found.uses}
            assert uses["x"].reads == len(found.window)
            assert uses["y"].writes == 1
            assert uses["y"].elements == (at,)
        else:
            assert found.window <= found.shared | found.own
            assert found.window <= found.shared


def test_the_window_is_not_any_set_of_elements():
    """The check above can fail: another output's thread has another window."""
    problem = label.parse(STEPS[0][0])
    arrays = numbers(problem)
    one, other = (threads_of(trace_at(problem, arrays, at), "cuda:direct")
                  for at in ((0, 0, 0, 0), (0, 0, 1, 1)))  # fmt: skip
    assert one.own != other.window
    assert one.thread != other.thread


@pytest.mark.parametrize(("text", "step"), [STEPS[0], STEPS[2], STEPS[4]])
def test_every_output_is_written_once(text, step):
    """Over all blocks and threads of the launch; and the result is the usual build's."""
    problem = label.parse(text)
    slot = problem.forward_slot
    call = dispatch.prepare(problem, slot, f"cuda-on-cpu:{step}", "cpu")
    arrays = numbers(problem)
    given = zip(call.inputs, call.in_shapes, ("input", "weight", "bias"), strict=True)
    made = {n: arrays[a].reshape(s).astype("f4") for n, s, a in given}
    out = call.outputs[0]
    made[out] = np.full(call.out_shapes[0], np.nan, "f4")
    [launch] = call.launches({n: memory.contiguous(a.shape) for n, a in made.items()})
    addresses = {n: a.ctypes.data for n, a in made.items()}
    sizes = {n: a.nbytes for n, a in made.items()}
    written = []
    for block in np.ndindex(*launch.grid):
        log = logged(launch, addresses, sizes, block=block)
        written += log.of(out, WRITE)["offset"].tolist()
    assert sorted(written) == [4 * i for i in range(made[out].size)]
    operands = [made[n] for n in call.inputs]
    usual = dispatch.run(problem, slot, *operands, backend=f"cuda-on-cpu:{step}")
    assert np.array_equal(made[out].reshape(usual.shape), usual)


def test_warps_loads_are_counted_in_sectors(run):
    """Neighbours share sectors; a stride of 8 floats gives each lane its own."""
    from refconv.learn.threads_uses import uses

    for stride, sectors in ((1, 4), (2, 8), (8, 32)):
        x, y, log = run("strided", stride, blocks=1, watch=0)
        arrays = {"x": x, "y": y}
        shapes = {n: a.shape for n, a in arrays.items()}
        [used] = [u for u in uses(log, 0, arrays, shapes, {}) if u.name == "x"]
        assert (used.requests, used.lanes, used.sectors, used.least) == (1, 32, sectors, 4)


def test_refusals():
    t = trace_at(label.parse(STEPS[0][0]), numbers(label.parse(STEPS[0][0])))
    with pytest.raises(UsageError, match="did you mean direct"):
        threads_of(t, "cuda:direckt")
    with pytest.raises(UsageError, match="cuda or cuda:STEP"):
        threads_of(t, "opencl")
    with pytest.raises(UnsupportedError, match="one input channel a group"):
        threads_of(t, "cuda:depthwise")
    assert threads_of(t, "cuda:conv_2_shared").step == "shared"


def test_what_is_too_large_is_refused():
    problem = label.parse("conv2d x[1,64,112,112] w[64,64,3,3] p1")
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape}
    found = trace_at(problem, {n: np.broadcast_to(1.0, s) for n, s in shapes.items()})
    with pytest.raises(UnsupportedError, match=r"too many .* give a smaller input \(--in\)"):
        threads_of(found)

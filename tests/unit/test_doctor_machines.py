"""Every machine that cannot use a GPU: the doctor says why and what helps, the backend itself says
the same, and everything else goes on.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import refconv.functional as F
from refconv import UnavailableError, backends, dispatch, label
from refconv.backends import _cuda_cupy, numba_cuda
from refconv.backends import _cuda_reasons as reasons
from refconv.harness.doctor import driver, gpus, usable
from tests.cuda.machines import Driver, cuda, cupy

PROBLEM = label.parse("conv2d x[1,1,5,5] w[1,1,3,3]")
H200 = Driver().gpus
OLD = (("GTX 1080", (6, 1), 8 << 30, 7 << 30),)
BOTH = ["cupy-cuda12x", "cupy-cuda13x"]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Puts another machine's driver and packages in place of this one's: ``machine(driver, …)``."""

    def forget():
        backends.unavailable.cache_clear()
        dispatch.forget()

    def become(library, for_cupy=None, for_numba=None, installed=("cupy-cuda13x",)):
        import numba

        monkeypatch.setattr(reasons, "driver", lambda: library)
        monkeypatch.setattr(_cuda_cupy, "installed", lambda: list(installed))
        for module, package in ((_cuda_cupy, for_cupy), (numba_cuda, for_numba)):
            here = package is not None
            monkeypatch.setattr(module, "find_spec", lambda name, here=here: here or None)
        monkeypatch.setattr(
            usable, "find_spec", lambda name: {"cupy": for_cupy, "numba_cuda": for_numba}[name]
        )
        monkeypatch.setitem(sys.modules, "cupy", for_cupy)
        monkeypatch.setattr(numba, "cuda", for_numba, raising=False)
        forget()

    monkeypatch.setattr(reasons, "MODULE", tmp_path / "module")
    monkeypatch.setattr(reasons, "BUS", tmp_path / "bus")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield become
    monkeypatch.undo()
    forget()


def findings(library):
    """What the doctor says of GPUs and backends: topic → (state, text, fix)."""
    seen = driver.look(nvml=library)
    found = [*gpus.check(seen, None), *usable.check((), bool(seen.gpus))]
    assert all(f.fix for f in found if f.state in ("warning", "failed"))
    return {f.topic: (f.state, f.text, f.fix) for f in found}


def everything_else_goes_on():
    """A CPU's array takes a CPU's backend; a GPU's gets the reason of each."""
    assert dispatch.choose(PROBLEM, "conv_fprop", "auto", "cpu").backend.name == "numba"
    y = F.conv2d(np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32))
    assert y.tolist() == [[[[9.0]]]]
    with pytest.raises(UnavailableError) as found:
        dispatch.choose(PROBLEM, "conv_fprop", "auto", "cuda")
    said = str(found.value)
    for name in ("cupy", "numba-cuda"):
        reason = backends.unavailable(name)
        assert reason is not None
        assert f"{name}: {reason}" in said
        with pytest.raises(UnavailableError) as found:
            backends.require(name)
        assert str(found.value) == f"backend {name} is not available: {reason}"


def test_nothing_is_wrong_without_a_gpu(machine) -> None:
    machine(None, cupy(), cuda())
    found = findings(None)
    assert found["GPU"][0] == "note"
    assert found["cupy, numba-cuda"][:2] == ("note", reasons.NO_GPU)
    everything_else_goes_on()


@pytest.mark.parametrize(
    ("kind", "state"),
    [("0x030200", "failed"), ("0x030000", "failed"), ("0x020000", "note")],
    ids=["compute card", "display card", "network card"],
)
def test_a_card_without_a_driver(machine, tmp_path, kind, state) -> None:
    for index, vendor in enumerate(("0x8086", "0x10de")):
        slot = tmp_path / "bus" / f"0000:0{index}:00.0"
        slot.mkdir(parents=True)
        (slot / "vendor").write_text(f"{vendor}\n")
        (slot / "class").write_text(f"{kind}\n")
    machine(None, cupy(), cuda())
    found = findings(None)["GPU"]
    assert found[0] == state
    if state == "failed":
        assert found[1:] == (
            "there is an NVIDIA card, but no NVIDIA driver",
            "install the driver; no toolkit",
        )
        everything_else_goes_on()


def test_a_container_that_was_not_given_the_gpu(machine, tmp_path) -> None:
    (tmp_path / "module").mkdir()
    machine(None, cupy(), cuda())
    state, text, fix = findings(None)["GPU"]
    assert (state, "--gpus all" in fix) == ("failed", True)
    assert "libcuda.so.1 is not to be found" in text
    assert "--gpus all" in str(backends.unavailable("cupy"))
    everything_else_goes_on()


#: Machine → driver; CuPy, numba.cuda on it; what GPU's, CuPy's and numba-cuda's lines say.
MACHINES = {
    "no device": (
        Driver(status=100, gpus=()), cupy(status=100), cuda(count=0),
        "failed: the driver sees no CUDA device → nvidia-smi -L",
        "note: the driver sees no CUDA device", "",
    ),
    "driver too old": (
        Driver(cuda=12020), cupy(driver=12020, status=35), cuda(driver=(12, 2)),
        "ok: 0 NVIDIA H200 sm_90, 140.00 GiB of 141.00 GiB free · driver 580.65.06 knows CUDA 12.2",
        "failed: the driver is too old: it knows CUDA 12.2, and CuPy needs 13.2 → update the "
        'driver, or pip uninstall the CuPy there is; then pip install "refconv[cuda12]"',
        "failed: the driver is too old: it knows CUDA 12.2, and numba-cuda needs 13.0 → update the "
        'driver, or pip install "refconv[cuda12]" instead',
    ),
    "card too old": (
        Driver(gpus=OLD), cupy(capability=(6, 1)), cuda(capability=(6, 1)),
        "failed: 0 GTX 1080 sm_61: the GPU has compute capability 6.1, and 7.0 is needed → use",
        "failed: the GPU has compute capability 6.1, and 7.0 is needed → use a newer GPU, or a CPU",
        "",
    ),
    "no CuPy": (
        Driver(cuda=12080), None, None,
        "ok: 0 NVIDIA H200",
        'warning: CuPy is not installed → pip install "refconv[cuda12]"',
        'warning: numba-cuda is not installed → pip install "refconv[cuda12]"',
    ),
    "no NVRTC": (
        Driver(), cupy(nvrtc="libnvrtc.so.13 not found"), cuda(nvvm="libnvvm.so: cannot open"),
        "ok: 0 NVIDIA H200",
        "failed: NVRTC, CUDA's compiler, cannot be loaded: libnvrtc.so.13 not found → pip install "
        '"refconv[cuda13]"; no nvcc is needed',
        "failed: libNVVM or NVRTC, which Numba compiles with, cannot be loaded: libnvvm.so: cannot "
        'open → pip install "refconv[cuda13]"; no nvcc is needed',
    ),
    "a GPU newer than NVRTC": (
        Driver(), cupy(capability=(13, 0)), cuda(nvvm="x"), "ok: 0",
        "failed: NVRTC 13.0 does not compile for sm_130 → install a newer nvidia-cuda-nvrtc", "",
    ),
    "CUDA does not start": (
        Driver(status=999), cupy(status=999), cuda(error="cuInit: CUDA_ERROR_UNKNOWN (999)"),
        "failed: CUDA does not start: error of number 999 (999) → nvidia-smi must work first",
        "note: CUDA does not start: cudaError 999 → nvidia-smi must work first",
        "note: CUDA does not start: cuInit: CUDA_ERROR_UNKNOWN (999) → nvidia-smi must work first",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MACHINES)
def test_the_doctor_and_the_backend_give_the_reason(machine, name) -> None:
    library, for_cupy, for_numba, *said = MACHINES[name]
    machine(library, for_cupy, for_numba)
    found = findings(library)
    for topic, text in zip(("GPU", "cupy", "numba-cuda"), said, strict=True):
        if text:
            (line,) = [v for names, v in found.items() if topic in names.split(", ")]
            assert f"{line[0]}: {line[1]} → {line[2]}".startswith(text)
    everything_else_goes_on()


@pytest.mark.parametrize(
    ("status", "reason"),
    [(34, "the toolkit's stub"), (802, "not ready yet"), (803, "of different versions")],
)
def test_drivers_that_do_not_start(machine, status, reason) -> None:
    machine(Driver(status=status), cupy(status=999), cuda(error="x"))
    state, text, fix = findings(Driver(status=status))["GPU"]
    assert (state, reason in text, bool(fix)) == ("failed", True, True)


def test_a_hidden_gpu_is_a_warning(machine, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    library = Driver(status=100, gpus=())
    machine(library, cupy(count=0), cuda(count=0))
    assert findings(library)["GPU"] == (
        "warning",
        "the driver sees no CUDA device: CUDA_VISIBLE_DEVICES='' hides them",
        "unset CUDA_VISIBLE_DEVICES",
    )
    assert "unset CUDA_VISIBLE_DEVICES" in str(backends.unavailable("numba-cuda"))


@pytest.mark.parametrize("library", [None, Driver()], ids=["no GPU", "GPU"])
def test_two_cupys_are_a_failure_everywhere(machine, library) -> None:
    machine(library, cupy(), cuda(), installed=BOTH)
    state, text, fix = findings(library)["cupy"]
    assert state == "failed"
    assert text == "cupy-cuda12x and cupy-cuda13x are installed, and overwrite each other"
    assert fix == 'pip uninstall cupy-cuda12x cupy-cuda13x; then pip install "refconv[cuda13]"'
    assert "overwrite each other" in str(backends.unavailable("cupy"))


def test_a_cupy_that_cannot_be_imported(machine) -> None:
    machine(Driver(), cupy(), cuda(nvvm="x"))
    sys.modules["cupy"] = None  # type: ignore[assignment]  # an import of it fails
    state, text, fix = findings(Driver())["cupy"]
    assert (state, fix) == ("failed", "pip install --force-reinstall cupy-cuda13x")
    assert "CuPy cannot be imported: " in text
    everything_else_goes_on()


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (SimpleNamespace(), "what is called cupy is not CuPy, but what was left of one"),
        (SimpleNamespace(ndarray=int), "CuPy fails: 'types.SimpleNamespace' object has no"),
    ],
)
def test_what_is_left_of_a_cupy(machine, broken, text) -> None:
    machine(Driver(), broken, SimpleNamespace())
    found = findings(Driver())
    assert found["cupy"][0] == "failed"
    assert found["cupy"][1].startswith(text)
    assert found["numba-cuda"][1].startswith("numba-cuda fails: ")
    everything_else_goes_on()


def test_little_memory_is_a_warning_with_both_numbers(machine) -> None:
    library = Driver(gpus=(("L4", (8, 9), 24 << 30, 300 << 20),))
    machine(library, cupy(), cuda())
    state, text, fix = findings(library)["GPU"]
    assert (state, "nvidia-smi" in fix) == ("warning", True)
    assert "0 L4 sm_89: only 300.0 MiB of 24.00 GiB free" in text


def torch_of(built, available=True, archs=("sm_75", "sm_90")):
    """What stands for torch: built for a CUDA, seeing a device or not."""
    there = SimpleNamespace(is_available=lambda: available, get_arch_list=lambda: list(archs))
    return SimpleNamespace(__version__="2.13", version=SimpleNamespace(cuda=built), cuda=there)


@pytest.mark.parametrize(
    ("torch", "state", "text"),
    [
        (torch_of("13.0"), None, ""),
        (torch_of("12.8"), None, ""),
        (torch_of(None), "warning", "torch 2.13 is built without CUDA, and there is a GPU"),
        (torch_of("14.0"), "failed", "torch 2.13 needs CUDA 14.0, and the driver knows 13.0"),
        (torch_of("13.0", available=False), "failed", "sees no CUDA device, though the driver"),
        (torch_of("13.0", archs=("sm_100", "sm_120a")), "warning", "has no kernels for sm_90"),
    ],
)
def test_torch_beside_the_driver(torch, state, text) -> None:
    seen = driver.look(Driver(), Driver())
    found = [f for f in gpus.check(seen, torch) if f.topic == "torch"]
    assert [f.state for f in found] == ([state] if state else [])
    assert all(text in f.text and f.fix for f in found)


def test_a_machine_where_all_is_well(machine) -> None:
    """The fakes are no reason by themselves."""
    machine(Driver(), cupy(), cuda())
    found = findings(Driver())
    assert found["GPU"][0] == "ok"
    assert "no nvcc is needed" in found["GPU"][1]
    assert found["backends"][1].startswith("numba, im2col, naive, cupy, numba-cuda; by name only")
    assert backends.unavailable("cupy") is backends.unavailable("numba-cuda") is None


def test_two_gpus_and_an_old_one_beside_a_new_one(machine) -> None:
    library = Driver(gpus=(*OLD, *H200))
    machine(library, cupy(), cuda())
    lines = list(gpus.check(driver.look(nvml=library), None))
    assert [(f.state, f.text.partition(" sm_")[0]) for f in lines] == [
        ("warning", "0 GTX 1080"),
        ("ok", "1 NVIDIA H200"),
    ]


def test_numba_that_must_not_compile(machine, monkeypatch) -> None:
    """Its kernels do not run as Python: auto goes on to the next backend, by name it is refused."""
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    machine(None, cupy(), cuda())
    state, text, fix = findings(None)["numba"]
    assert (state, fix) == ("failed", "unset it")
    assert text.startswith("NUMBA_DISABLE_JIT is set")
    assert dispatch.choose(PROBLEM, "conv_fprop", "auto", "cpu").backend.name == "im2col"
    with pytest.raises(UnavailableError, match="numba is not available: NUMBA_DISABLE_JIT is set"):
        dispatch.choose(PROBLEM, "conv_fprop", "numba", "cpu")


def test_no_compiler_for_the_emulator_is_no_fault(machine, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    machine(None, cupy(), cuda())
    assert findings(None)["cuda-on-cpu"] == (
        "note",
        "there is no C++ compiler",
        "install g++, or set CXX",
    )

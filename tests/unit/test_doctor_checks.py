"""The doctor's checks one by one, on machines made up for them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from refconv.harness.doctor import checkout, conflicts, libraries, limits, precision, variables


def lines(findings):
    """Findings as text; every warning and failure has a fix."""
    found = list(findings)
    assert all(f.fix for f in found if f.state in ("warning", "failed"))
    return [f"{f.state} {f.topic}: {f.text} → {f.fix}" for f in found]


def test_variables() -> None:
    given = {"OMP_NUM_THREADS": "1", "NUMBA_DISABLE_JIT": "1", "NUMBA_DEBUG": "0", "PATH": "/x",
             "NVIDIA_TF32_OVERRIDE": "0", "NUMBA_CACHE_DIR": "/y"}  # fmt: skip
    told = lines(variables.check(given, 8))
    assert [t.split()[2].split("=")[0] for t in told] == [
        "OMP_NUM_THREADS", "NUMBA_DISABLE_JIT", "NVIDIA_TF32_OVERRIDE",
    ]  # fmt: skip
    assert "OMP_NUM_THREADS=1, and there are 8 cores" in told[0]
    assert told[0].endswith("→ unset OMP_NUM_THREADS")
    assert lines(variables.check({"OMP_NUM_THREADS": "8"}, 8)) == []
    assert "PATH" not in variables.facts(given)
    assert variables.facts(given)["NUMBA_CACHE_DIR"] == "/y"


def package(name, version):
    return SimpleNamespace(metadata={"Name": name}, version=version)


CUDA = SimpleNamespace(version=SimpleNamespace(cuda="12.8"))


@pytest.mark.parametrize(
    ("names", "torch_", "text"),
    [
        ({"cupy-cuda13x": "14", "nvidia-cublas-cu12": "12.8", "nvidia-nvvm": "13.0"}, CUDA,
         "two CUDAs in one process: torch for CUDA 12, cupy-cuda13x for CUDA 13 → uninstall what "
         'is for another CUDA; then pip install "refconv[cuda12]"'),
        ({"cupy-cuda12x": "14", "numba-cuda": "0.3", "cuda-bindings": "13.5"}, None,
         "two CUDAs in one process: cupy-cuda12x for CUDA 12, numba-cuda for CUDA 13"),
        ({"nvidia-cublas-cu12": "12.8", "nvidia-nvjitlink": "13.0"}, CUDA,
         "mixed: of 12: nvidia-cublas-cu12; of 13: nvidia-nvjitlink → pip uninstall "
         "nvidia-nvjitlink (nothing"),
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, None,
         "onnxruntime and onnxruntime-gpu are installed, and overwrite each other"),
        ({"nvidia-cublas-cu12": "12.8", "nvidia-cufft-cu12": "11", "cupy-cuda12x": "9"}, CUDA, ""),
        ({"nvidia-cublas": "13", "nvidia-cufft": "12.0", "nvidia-nvvm": "13.1"}, None, ""),
    ],
)  # fmt: skip
def test_conflicts(names, torch_, text) -> None:
    there = conflicts.installed(package(*item) for item in names.items())
    told = lines(conflicts.check(there, torch_))
    assert len(told) == bool(text)
    assert text in "".join(told)


def test_two_versions_of_one_package() -> None:
    there = conflicts.installed([package("NumPy", "2.4"), package("numpy", "1.26")])
    (told,) = lines(conflicts.check(there, None))
    assert "warning numpy: 1.26 and 2.4 are both on the path" in told


def test_libraries_that_cannot_be_imported() -> None:
    told = lines(libraries.check({"numpy": np}, {"torch": "OSError: libx.so: cannot open"}))
    assert f"numpy {np.__version__}" in told[0]
    assert told[1] == (
        "failed torch: cannot be imported: OSError: libx.so: cannot open → "
        "pip install --force-reinstall torch"
    )


def test_optional_libraries_say_what_they_give(monkeypatch) -> None:
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == "ray" else name)
    *_, told = lines(libraries.check({}, {}))
    assert 'ray is not (pip install "refconv[ray]": check on many machines)' in told


@pytest.mark.parametrize(
    ("files", "path", "want"),
    [
        ({"cpu.max": "150000 100000\n"}, "/", 1.5),
        ({"cpu.max": "max 100000\n"}, "/", None),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "max 100000"}, "/a/b", 4.0),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, "/a/b", 2.0),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, "/", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "/", None),
        ({}, "/", None),
    ],
)
def test_the_control_groups_limit(tmp_path, files, path, want) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert limits.quota(tmp_path, path) == want


def test_limits_are_warnings_with_numbers(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(limits, "quota", lambda: 1.5)
    monkeypatch.setattr(limits, "available", lambda: 100 << 20)
    monkeypatch.setattr(limits.shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    told = lines(limits.check(16, 8))
    assert "a control group allows 1.5 of 16 processors, and torch has 8 threads" in told[0]
    assert told[0].endswith("→ export OMP_NUM_THREADS=1, or raise the container's limit")
    assert "only 100.0 MiB are free" in told[1]
    assert "only 1.0 MiB are free for" in told[2]
    monkeypatch.setattr(limits, "writable", lambda path: False)
    *_, cache, numba = lines(limits.check(16, 8))
    assert "nothing compiled is kept → set XDG_CACHE_HOME" in cache
    assert numba.startswith("failed Numba's cache: neither ")
    assert "set NUMBA_CACHE_DIR" in numba
    monkeypatch.setattr(limits, "quota", lambda: 16.0)
    assert not any("control group" in line for line in lines(limits.check(16, 8)))


def test_what_can_be_written(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    assert limits.writable(tmp_path / "new" / "folder")
    assert not limits.writable(tmp_path / "file" / "folder")
    if os.getuid():
        tmp_path.chmod(0o500)
        assert not limits.writable(tmp_path / "new")


def test_these_kernels_are_this_checkouts() -> None:
    """Else every test here tests another checkout's."""
    assert not [line for line in lines(checkout.check()) if "kernels" in line]


def test_kernels_of_another_checkout(tmp_path) -> None:
    package = checkout.PACKAGE
    assert not [
        x for x in lines(checkout.check(package, package.parent / "kernels")) if "kern" in x
    ]
    told = lines(checkout.check(used=tmp_path / "kernels"))
    assert "those of another checkout" in told[0]
    assert told[0].startswith("failed kernels: ")
    assert "pip install -e" in told[0]
    installed = tmp_path / "site-packages" / "refconv"
    assert lines(checkout.check(installed, installed / "kernels")) == []


def test_another_version_than_pips(monkeypatch) -> None:
    monkeypatch.setattr(checkout.metadata, "version", lambda name: "0.0.1")
    *_, told = lines(checkout.check())
    assert "pip has installed 0.0.1" in told


def backends(conv="none", matmul="none", mkldnn="none"):
    """torch.backends with the settings that are read."""
    new = lambda value: SimpleNamespace(fp32_precision=value)  # noqa: E731
    return SimpleNamespace(
        cudnn=SimpleNamespace(conv=new(conv), benchmark=False),
        cuda=SimpleNamespace(matmul=new(matmul)),
        mkldnn=SimpleNamespace(conv=new(mkldnn)),
    )


@pytest.mark.parametrize(
    ("settings", "has_gpu", "texts"),
    [
        ({"conv": "tf32"}, False, []),
        ({"conv": "tf32"}, True, ["float32 convolutions on a GPU multiply in TF32 (10 bits)"]),
        ({"conv": "ieee", "matmul": "tf32"}, True, ["matrix products on a GPU multiply in TF32"]),
        ({"mkldnn": "bf16"}, False, ["convolutions on the CPU multiply in bf16"]),
        ({"conv": "ieee"}, True, []),
    ],
)
def test_the_precision_in_effect(monkeypatch, settings, has_gpu, texts) -> None:
    monkeypatch.setattr(torch, "backends", backends(**settings))
    first, *told = lines(precision.check(torch, has_gpu))
    assert ("on cuda conv" in first) == has_gpu
    assert len(told) == len(texts)
    assert all(text in line for text, line in zip(texts, told, strict=True))


def test_the_old_way_to_say_tf32(monkeypatch) -> None:
    old = backends()
    old.cuda.matmul, old.cudnn = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=True)
    assert precision.matmul(SimpleNamespace(backends=old)) == "tf32"


def test_our_own_accuracy_is_told() -> None:
    import refconv

    with refconv.accuracy("fast"):
        (told,) = lines(precision.check(None, False))
    assert "accuracy fast; Winograd F(4x4) allowed, tuning off" in told

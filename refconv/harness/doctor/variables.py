"""Environment variables that change what is computed, or how fast: one row each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .report import Finding

#: Those that limit threads, and whose.
THREADS = {
    "OMP_NUM_THREADS": "torch's and Numba's OpenMP",
    "MKL_NUM_THREADS": "MKL",
    "OPENBLAS_NUM_THREADS": "OpenBLAS (NumPy, im2col)",
    "NUMBA_NUM_THREADS": "Numba",
}
#: Those that matter when they are set to anything but these values; and what they do.
OFF = ("", "0")
ROWS: dict[str, tuple[tuple[str, ...], str]] = {
    "NUMBA_DISABLE_JIT": (OFF, "the numba backend does not compile, and cannot run"),
    "NUMBA_DEBUG": (OFF, "Numba prints while it compiles"),
    "NUMBA_BOUNDSCHECK": (OFF, "Numba's kernels check every index: they are slow"),
    "NUMBA_OPT": (("", "3", "max"), "Numba's kernels are compiled with less optimisation"),
    "NUMBA_CPU_NAME": (("", "host"), "Numba's kernels are not compiled for this processor"),
    "NUMBA_ENABLE_CUDASIM": (OFF, "Numba simulates CUDA; numba-cuda runs on no GPU"),
    "NUMBA_DISABLE_CUDA": (OFF, "Numba uses no GPU"),
    "CUDA_LAUNCH_BLOCKING": (OFF, "every launch waits for its kernel: GPU times are wrong"),
    "NVIDIA_TF32_OVERRIDE": (("",), "it decides on TF32 in cuDNN and cuBLAS, whatever torch says"),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": (OFF, "matrix products on a GPU use TF32"),
    "ATEN_CPU_CAPABILITY": (("",), "torch's own CPU kernels are held to these instructions"),
    "ONEDNN_MAX_CPU_ISA": (("", "ALL", "DEFAULT"), "torch's convolutions are held to these "
                           "instructions"),
    "DNNL_MAX_CPU_ISA": (("", "ALL", "DEFAULT"), "torch's convolutions are held to these "
                         "instructions"),
    "MKL_CBWR": (("",), "MKL is held to reproducible, slower code"),
    "ONEDNN_VERBOSE": (OFF, "oneDNN prints every call: CPU times of torch are wrong"),
    "DNNL_VERBOSE": (OFF, "oneDNN prints every call: CPU times of torch are wrong"),
}  # fmt: skip
#: Told in a bug report where they are set, and right as they are.
TOLD = ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUDA_HOME", "NUMBA_THREADING_LAYER", "REFCONV_TUNE",
        "NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "KMP_AFFINITY", "OMP_PROC_BIND")  # fmt: skip


def facts(environment: Mapping[str, str]) -> dict[str, str]:
    """Those that are set."""
    names = (*THREADS, *ROWS, *TOLD)
    return {name: environment[name] for name in names if name in environment}


def check(environment: Mapping[str, str], cores: int) -> Iterator[Finding]:
    """A warning for each that changes something."""
    for name, whose in THREADS.items():
        value = environment.get(name, "")
        if value and value != str(cores):
            text = f"{name}={value}, and there are {cores} cores: times are not those of defaults"
            yield Finding("warning", "variables", f"{text} ({whose})", f"unset {name}")
    for name, (plain, effect) in ROWS.items():
        value = environment.get(name, "")
        if value not in plain:
            yield Finding("warning", "variables", f"{name}={value}: {effect}", f"unset {name}")

"""The precision in effect: torch's, by the new settings where it has them, and refconv's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ... import settings, tuned
from .report import Finding

IEEE = 'torch.backends.cudnn.conv.fp32_precision = "ieee"'
IEEE_OLD = "torch.backends.cudnn.allow_tf32 = False"


def facts(torch: Any) -> dict[str, str]:
    """What ``check`` tells, by name; without torch, refconv's own only."""
    found = {
        "accuracy": settings.get_accuracy(),
        "tuning": str(tuned.path()) if tuned.is_used() else "off",
    }
    if torch is None:
        return found
    from ..environment import precision

    return found | {
        "cpu conv": precision("cpu"),
        "cuda conv": precision("cuda"),
        "cuda matmul": matmul(torch),
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
    }


def matmul(torch: Any) -> str:
    """How torch multiplies float32 matrices on a GPU.

    Since 2.9 there are two ways to say so; the old one may not be read after the new one was set.
    """
    setting = torch.backends.cuda.matmul
    new = getattr(setting, "fp32_precision", None)
    if new is not None:
        return "tf32" if new == "tf32" else "fp32"
    return "tf32" if setting.allow_tf32 else "fp32"


def check(torch: Any, has_gpu: bool) -> Iterator[Finding]:
    """One line; and a warning for each way in which float32 is not float32."""
    found = facts(torch)
    fast = "; Winograd F(4x4) allowed" if found["accuracy"] == "fast" else ""
    text = f"refconv: accuracy {found['accuracy']}{fast}, tuning {found['tuning']}"
    if torch is None:
        yield Finding("ok", "precision", text)
        return
    text += f" · torch, float32: conv on cpu {found['cpu conv']}"
    if has_gpu:
        text += f", on cuda conv {found['cuda conv']}, matmul {found['cuda matmul']}"
    yield Finding("ok", "precision", text)
    if found["cpu conv"] != "fp32":
        yield Finding(
            "warning", "precision",
            f"torch's float32 convolutions on the CPU multiply in {found['cpu conv']}",
            'torch.backends.mkldnn.conv.fp32_precision = "ieee"',
        )  # fmt: skip
    if not has_gpu:
        return
    if found["cuda conv"] == "tf32":
        new = hasattr(getattr(torch.backends.cudnn, "conv", None), "fp32_precision")
        yield Finding(
            "warning", "precision",
            "torch's float32 convolutions on a GPU multiply in TF32 (10 bits): its default",
            f"{IEEE if new else IEEE_OLD}; or refconv compare --allow tf32",
        )  # fmt: skip
    if found["cuda matmul"] == "tf32":
        yield Finding(
            "warning", "precision", "torch's float32 matrix products on a GPU multiply in TF32",
            'torch.backends.cuda.matmul.fp32_precision = "ieee"',
        )  # fmt: skip

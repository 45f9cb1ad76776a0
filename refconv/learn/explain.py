"""``explain``: a layer, a model, or a question with ``?``, accounted for number by number.

This decides what was asked; the answers are ``explain_layer`` (no torch), ``explain_model`` (on
torch's meta device), ``solve`` and ``explain_words``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import label, notation_benchdnn, notation_miopen
from ..errors import UsageError
from ..nets import nets
from ..notation_label import ARRAY
from ..notation_torch import MODULES
from ..ops import OPS
from .explain_layer import explain_layer
from .explain_show import Explanation, Part
from .layers import is_module, part_name

if TYPE_CHECKING:
    from .solve import Solution


@dataclass(frozen=True, repr=False)
class Solved(Explanation):
    """The answer to a question with ``?``."""

    spec: str
    solution: Solution

    @property
    def ok(self) -> bool:
        """Whether anything fits."""
        return bool(self.solution.answers or self.solution.asymmetric)

    def parts(self, width: int = 1000) -> list[Part]:
        """The solver's own lines."""
        first, *rest = self.solution.text.splitlines()
        return [f"{'✔' if self.ok else '✘'} {first}", *rest]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        error = None if self.ok else {"reason": self.solution.why, "fix": ""}
        return {"kind": "solve", "spec": self.spec, **self.solution.as_dict(), "error": error}


def explain(
    what: Any, *in_shapes: Any, out: Any = None, every: bool = False, macs: bool = False
) -> Explanation:
    """Explain a layer or a model, or answer ``nn.Conv2d(64,64,4,2,padding=?)``.

    Args:
        what: a label, torch code, another tool's line, a case (``resnet50:conv1``), a problem; or a
            model: a torch module, ``file.py:Class``, ``package.module:Class``,
            ``nn.Sequential(…)`` as text, the name of a net that refconv ships (``lenet``), or one
            of torchvision's or timm's where they are installed.
        in_shapes: of the inputs, ``"3x32x32"`` or ``(3, 32, 32)``.
        out: the output's shape, for a question with ``?``.
        every: show also what leaves a model's shapes as they are (activations, dropout).
        macs: show a model's multiply-accumulates, row by row.

    Raises:
        UsageError: this cannot be read, or a shape is missing.

    Example:
        >>> explain("nn.Conv2d(1,32,5,1,2)", (1, 28, 28)).problem.output_shape
        (32, 28, 28)
        >>> print(explain("nn.Conv2d(64,64,4,2,padding=?)", "64x96x96", out="64x48x48"))
        ✔ padding = 1 (the only answer)
          96 + 2p - 4 = 2*47 + r, r in {0,1}
          nn.Conv2d(64,64,4,2,padding=1)  (96+2*1-4)/2+1 = 48
          note: torch's padding='same' would raise here: it needs stride 1
    """
    if isinstance(what, str):
        if re.search(r"\?", what):
            from .solve import solve

            return Solved(what, solve(what, in_=in_shapes[0] if in_shapes else None, out=out))
        if out is not None:
            raise UsageError(
                f"{what!r} asks nothing: write ? for what is not known, e.g. padding=?"
            )
        spec = layer_spec(what.strip())
    else:
        spec = None if is_module(what) else label.format(what)
    if spec is None:
        from .explain_model import explain_model

        return explain_model(what, in_shapes, every=every, macs=macs)
    if len(in_shapes) > 1:
        raise UsageError(f"{spec!r} is one layer and takes one --in, got {len(in_shapes)}")
    return explain_layer(spec, in_shapes[0] if in_shapes else None)


def layer_spec(text: str) -> str | None:
    """The text of one layer that ``text`` is or names; None if it is a model.

    Raises:
        UsageError: it is a set of several cases.
    """
    if "(" in text:
        name = part_name(text)
        single = name in MODULES or name in OPS
        return text if single and "padding_mode" not in text else None  # that is two ops
    first = text.split(maxsplit=1)[0] if text else ""
    others = (notation_benchdnn.looks_like(text), notation_miopen.looks_like(text))
    if first in OPS or ARRAY.search(text) or any(others):
        return text
    if text in nets() or ".py" in text or not re.fullmatch(r"[\w-]+(:[\w.+/-]+)?", text):
        return None
    from ..harness import cases

    name, colon, _ = text.partition(":")
    if name in cases.sets():
        found = cases.load(text)
        if len(found) > 1:
            example = f"{name}:{found[0].name}"
            raise UsageError(f"{name} is a set of {len(found)} layers; name one, e.g. {example}")
        return label.format(found[0].problem)
    if not colon:
        try:
            return label.format(cases.load(text)[0].problem)
        except UsageError:
            return None
    return None

"""The op table: one row an op of torch.nn.functional that refconv has. Tests, docs and the harness
are driven by it.
"""

from __future__ import annotations

from dataclasses import dataclass

FLOATS = ("float64", "float32", "bfloat16", "float16")
INTEGERS = ("int8", "uint8", "int16", "int32", "int64")
COMPLEX = ("complex64", "complex128")


@dataclass(frozen=True)
class Op:
    """One op.

    Args:
        name: torch's name.
        rank: spatial axes; 0 where the op takes several.
        kind: the family: conv, conv_transpose, max_pool, avg_pool, lp_pool, adaptive_max_pool,
            adaptive_avg_pool, max_unpool, unfold, fold, pad.
        extra_dtypes: taken besides the four floats: what torch's CPU takes.
        channels_last: ranks in which a channels_last input gives a channels_last output.
        slots: what the op and its derivatives are made of.
    """

    name: str
    rank: int
    kind: str
    extra_dtypes: tuple[str, ...]
    channels_last: tuple[int, ...]
    slots: tuple[str, ...]


def _rows() -> list[Op]:
    conv_slots = ("conv_fprop", "conv_dgrad", "conv_wgrad", "conv_bgrad")
    max_slots = ("max_pool", "gather", "scatter_add")
    avg_slots = ("avg_pool", "avg_pool_backward")
    rows = []
    for r in (1, 2, 3):
        rows += [
            Op(f"conv{r}d", r, "conv", (*INTEGERS, *COMPLEX, "complex32"), (2, 3), conv_slots),
            Op(
                f"conv_transpose{r}d",
                r,
                "conv_transpose",
                ("int64", *COMPLEX, "complex32"),
                (2, 3),
                conv_slots,
            ),
            Op(f"max_pool{r}d", r, "max_pool", INTEGERS, (2, 3), max_slots),
            Op(f"avg_pool{r}d", r, "avg_pool", ("int64",), (2,), avg_slots),
            Op(f"lp_pool{r}d", r, "lp_pool", ("int64", "bool"), (2,), avg_slots),
            Op(f"adaptive_avg_pool{r}d", r, "adaptive_avg_pool", COMPLEX, (2,), avg_slots),
            Op(f"adaptive_max_pool{r}d", r, "adaptive_max_pool", (), (2,), max_slots),
            Op(f"max_unpool{r}d", r, "max_unpool", (), (2,), ("scatter", "gather", "scatter_add")),
        ]
    columns = ("unfold", "fold")
    anything = (
        *INTEGERS,
        "uint16",
        "uint32",
        "uint64",
        "bool",
        *COMPLEX,
        "complex32",
        "float8_e4m3fn",
        "float8_e5m2",
    )
    rows += [
        Op("unfold", 2, "unfold", ("bool", *COMPLEX), (), columns),
        Op("fold", 2, "fold", ("bool", *COMPLEX), (), columns),
        Op("pad", 0, "pad", anything, (2, 3), ("pad", "pad_backward")),
    ]
    return rows


OPS: dict[str, Op] = {row.name: row for row in _rows()}

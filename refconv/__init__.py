"""refconv: convolution kernels that can be read, an oracle that can be trusted, a harness that
times what it verified.

``refconv.functional`` has torch.nn.functional's convolution family and ``refconv.nn`` torch.nn's
layers, each with a ``backend``. Importing this package imports neither torch nor numba nor cupy.
"""

from importlib.util import find_spec
from pathlib import Path

import lazy_loader

# A plain checkout has the kernels beside this package, not in it: there they are found through the
# checkout's root.
if find_spec(f"{__name__}.kernels") is None:
    __path__.append(str(Path(__file__).resolve().parent.parent))

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["backends", "functional", "fused", "harness", "label", "nn", "oracle", "testing"],
    submod_attrs={
        "dispatch": ["choose"],
        "listing": ["algorithms"],
        "learn.chain": ["chains"],
        "learn.count": ["flops", "macs", "params"],
        "learn.reaching": ["sizes_reaching"],
        "learn.receptive": ["receptive_field"],
        "learn.solve": ["solve"],
        "learn.explain": ["explain"],
        "learn.trace": ["trace"],
        "settings": ["accuracy", "get_accuracy", "set_accuracy"],
        "tuning": ["tune", "use_tuning"],
        "errors": [
            "ArgumentError",
            "DtypeError",
            "IndexRangeError",
            "OutOfMemoryError",
            "RefconvError",
            "ShapeError",
            "UnavailableError",
            "UnsupportedError",
            "UsageError",
        ],
        "moves": ["ColumnProblem", "IndexProblem", "PadProblem"],
        "problem": ["ConvProblem", "PoolProblem"],
        "window": ["conv_transpose_out_size", "effective_kernel", "out_size", "same_padding"],
    },
)

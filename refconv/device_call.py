"""Calls of backends that take arrays as they are: in their own dtype, by address and strides.

What ``dispatch.Call`` is for kernels on NumPy's arrays. The algorithm's plan function gives the
launches; the backend executes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import guard, memory
from .backends._cuda_launch import ARRAYS, MULTIPROCESSORS, Given, Launch
from .backends._cuda_stream import multiprocessors
from .errors import OutOfMemoryError
from .moves import IndexProblem, PadProblem
from .problem import Size


def canonical(problem: Any, slot: str) -> tuple[list[Size], list[Size]]:
    """Shapes of the slot's inputs and outputs as plan functions see them: the contract's, but axes
    stay apart that merge only in a contiguous array. A channels_last array so needs no copy.

    Example:
        >>> from refconv.moves import IndexProblem
        >>> canonical(IndexProblem("max_unpool2d", (2, 3), (4, 5), (8, 10), "float32"), "scatter")
        ([(2, 3, 20), (2, 3, 20)], [(2, 3, 80)])
    """
    inputs, outputs, _, _ = problem.call(slot)
    if isinstance(problem, IndexProblem):  # (N, C, S), not (planes, S)
        lead = (1,) * (2 - len(problem.lead)) + problem.lead
        inputs, outputs = ([(*lead, s[1]) for s in shapes] for shapes in (inputs, outputs))
    elif isinstance(problem, PadProblem) and len(problem.shape) <= 5:
        inner, outer = ((1,) * (5 - len(s)) + s for s in (problem.shape, problem.output_shape))
        inputs, outputs = ([inner], [outer]) if slot == "pad" else ([outer], [inner])
    return inputs, outputs


def workspaces(launches: list[Launch]) -> dict[str, int]:
    """The workspaces that launches name, and their bytes."""
    named = (a for launch in launches for a in launch.arguments if isinstance(a, str) and ":" in a)
    return {name: int(name.partition(":")[2]) for name in named}


class DeviceCall:
    """A slot of a problem made ready to run: everything but the arrays.

    Args:
        choice: what runs (``dispatch.Choice``).
        relu: the result is clamped at zero as it is stored (conv_fprop in CUDA C++ only).
    """

    def __init__(self, problem: Any, slot: str, choice: Any, relu: bool = False) -> None:
        self.problem, self.slot, self.choice, self.relu = problem, slot, choice, relu
        self.user_shapes = problem.call(slot)[2]
        self.in_shapes, self.out_shapes = canonical(problem, slot)
        self.outputs, self.inputs = ARRAYS[slot]
        # By name: a plan function that is replaced in its module (by a test) is replaced here too.
        self.home, self.name = choice.backend.home(choice.algorithm.kernel)
        self._launches: dict[Any, list[Launch]] = {}

    def run(self, inputs: tuple[Any, ...], channels_last: bool) -> Any:
        """The result for these arrays of the user: an array, or a tuple of two."""
        like = inputs[0]
        outputs = [
            memory.Output(shape, dtype, like, channels_last)
            for shape, dtype in zip(self.user_shapes, (self.problem.dtype, "int64"), strict=False)
        ]
        ready: dict[str, tuple[Any, tuple[int, ...]]] = {}
        results = tuple(o.array for o in outputs)
        for names, shapes, given in (
            (self.outputs, self.out_shapes, results),
            (self.inputs, self.in_shapes, inputs),
        ):
            for name, shape, x in zip(names, shapes, given, strict=False):
                if x is not None:
                    ready[name] = memory.ready(x, shape, written=given is results)
        before = self._snapshot(ready)
        odd = frozenset(name for name, (x, _) in ready.items() if memory.address(x) % 16)
        is_gpu = self.choice.backend.device == "cuda"
        launches = self.launches(
            {name: strides for name, (_, strides) in ready.items()},
            odd,
            multiprocessors(like) if is_gpu else MULTIPROCESSORS,
        )
        self._execute(launches, {name: x for name, (x, _) in ready.items()}, like)
        what = f"{self.choice} {self.slot}"
        for output in outputs:
            output.verify(what)
        for name, held in before.items():
            if memory.bytes_of(ready[name][0]) != held:
                raise guard.GuardError(f"{what}: changed its input {name}")
        return results[0] if len(results) == 1 else results

    def launches(
        self,
        strides: dict[str, tuple[int, ...]],
        unaligned: frozenset[str] = frozenset(),
        multiprocessors: int = MULTIPROCESSORS,
    ) -> list[Launch]:
        """What runs for arrays of these strides, by name, on a GPU of so many multiprocessors."""
        key = (tuple(strides.items()), unaligned, multiprocessors)
        found = self._launches.get(key)
        if found is None:
            shapes = dict(zip(self.outputs, self.out_shapes, strict=True))
            shapes |= dict(zip(self.inputs, self.in_shapes, strict=True))
            shapes = {name: tuple(shapes[name]) for name in strides}
            plan: Callable[[Given], list[Launch]] = getattr(self.home, self.name)
            given = Given(
                self.problem, self.slot, shapes, strides, multiprocessors, self.relu, unaligned
            )
            made = plan(given)
            found = self._launches[key] = [launch for launch in made if 0 not in launch.grid]
        return found

    def _execute(self, launches: list[Launch], arrays: dict[str, Any], like: Any) -> None:
        addresses = dict.fromkeys((*self.outputs, *self.inputs), 0)
        addresses |= {name: memory.address(x) for name, x in arrays.items()}
        kept = []
        try:
            for name, size in workspaces(launches).items():
                kept.append(memory.new(size, "uint8", like))
                addresses[name] = memory.address(kept[-1])
            execute = self.choice.backend.execute
            execute(launches, addresses, like)
        except Exception as error:
            if memory.is_full(error):
                raise self._too_large(launches, like) from error
            raise

    def _too_large(self, launches: list[Launch], like: Any) -> OutOfMemoryError:
        """The error for launches that there is no memory for."""
        needed = sum(workspaces(launches).values())
        what = f"a workspace of {memory.gib(needed)}" if needed else "more memory for its launch"
        fix = "make the batch smaller, or free memory"
        direct = [a.name for a in self.choice.backend.slots[self.slot] if a.name == "direct"]
        if needed and direct and self.choice.algorithm.name != "direct":
            fix += f'; backend="{self.choice.backend.name}:direct" needs no workspace'
        return OutOfMemoryError(
            f"{self.problem.op}: {self.choice} {self.slot} needs {what} beside its arrays, and "
            f"free are {memory.free(like)} ({fix})"
        )

    def _snapshot(self, ready: dict[str, tuple[Any, tuple[int, ...]]]) -> dict[str, bytes]:
        """What the inputs hold, while ``guard.checked()`` is on."""
        if not guard.is_checking():
            return {}
        return {n: memory.bytes_of(x) for n, (x, _) in ready.items() if n in self.inputs}

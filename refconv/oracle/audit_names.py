"""What a call is called: the path in the model of the module that makes it.

Hooks on every module keep a stack of those that are running. A derivative has no module; autograd's
node says of which forward call it is: it has the number that was next when that call was made.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
from torch.nn.modules import module as hooks

from ..notation import Problem


class Names:
    """The stack, and the calls that were made.

    Args:
        compiled: whether a module of torch.compile was called.
    """

    def __init__(self) -> None:
        self.stack: list[torch.nn.Module] = []
        self.compiled = False
        self._roots: dict[int, tuple[torch.nn.Module, str, dict[int, str]]] = {}
        self._count: Counter[tuple[str, str]] = Counter()
        self._calls: dict[int, tuple[str, Problem]] = {}
        self._weights: dict[int, str] = {}

    def attach(self) -> list[Any]:
        """Hook every module; what is returned undoes it with ``remove()``."""
        return [
            hooks.register_module_forward_pre_hook(self._enter),
            hooks.register_module_forward_hook(self._leave, always_call=True),
        ]

    def _enter(self, module: torch.nn.Module, args: Any) -> None:
        self.stack.append(module)
        self.compiled |= type(module).__name__ == "OptimizedModule"

    def _leave(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        while self.stack and self.stack.pop() is not module:
            pass

    def forward(self, problem: Problem) -> str:
        """The name of a call that is being made now."""
        return self._numbered(self._place() or problem.op, problem.op, bool(self.stack))

    def backward(self, node: Any, problem: Problem, weight: torch.Tensor | None) -> str:
        """The name of the forward call whose derivative ``node`` is computing."""
        found = None if node is None else self._calls.get(node._sequence_nr())
        if found is not None:
            return found[0]
        if weight is not None and weight.data_ptr() in self._weights:
            return self._weights[weight.data_ptr()]
        return self._numbered(problem.op, problem.op, False)

    def unknown(self, operator: str) -> str:
        """A name for a call of an operator that has no problem."""
        op = operator.rpartition("::")[2]
        return self._numbered(self._place() or op, op, bool(self.stack))

    def remember(self, name: str, problem: Problem, arrays: dict[str, torch.Tensor]) -> None:
        """Keep a call's name for its derivative, if there will be one."""
        if torch.is_grad_enabled() and any(t.requires_grad for t in arrays.values()):
            self._calls[torch.autograd._get_sequence_nr() - 1] = (name, problem)
        if "weight" in arrays:
            self._weights[arrays["weight"].data_ptr()] = name

    def before(self, node: Any) -> Problem | None:
        """The problem of the forward call whose derivative ``node`` is computing."""
        found = None if node is None else self._calls.get(node._sequence_nr())
        return None if found is None else found[1]

    def _numbered(self, name: str, op: str, inside: bool) -> str:
        """A name for the second time gets ``#2``; without a module every name has its number."""
        self._count[name, op] += 1
        count = self._count[name, op]
        return name if inside and count == 1 else f"{name} #{count}"

    def _place(self) -> str:
        """The innermost module that its root knows; of one with children, its forward."""
        if not self.stack:
            return ""
        prefix, paths = self._root(self.stack[0])
        for module in reversed(self.stack):
            path = paths.get(id(module))
            if path is None:
                continue
            path = ".".join(p for p in path.split(".") if p != "_orig_mod")
            if next(module.children(), None) is not None:
                path = f"{path}.forward()" if path else "forward()"
            return prefix + (path or type(module).__name__)
        return ""

    def _root(self, root: torch.nn.Module) -> tuple[str, dict[int, str]]:
        """Paths of a root's modules; those of a second root have its class's name before them."""
        if id(root) not in self._roots:
            like = sum(type(r) is type(root) for r, _, _ in self._roots.values())
            prefix = (
                f"{type(root).__name__}{f'#{like + 1}' if like else ''}." if self._roots else ""
            )
            paths = {id(m): path for path, m in root.named_modules()}
            self._roots[id(root)] = (root, prefix, paths)
        _, prefix, paths = self._roots[id(root)]
        return prefix, paths

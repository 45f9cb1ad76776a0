"""Who may import what (docs/design/architecture.md), read from the source without running it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STDLIB_ONLY = {"window", "errors", "ops", "problem", "moves", "checks", "normalize"}
TORCH = ("arrays", "autograd", "nn", "oracle", "harness", "learn")
HEAVY = {"torch", "numba", "cupy"}


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at module level?) of every import in a file; relative ones as ``refconv.…``."""
    package = ["refconv", *path.relative_to(ROOT / "refconv").parts[:-1]]
    found = []
    tree = ast.parse(path.read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = ".".join(package[: len(package) - node.level + 1])
            if node.module:
                found.append((f"{base}.{node.module}", id(node) in top))
            else:
                found += [(f"{base}.{alias.name}", id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", id(node) in top))
    return found


def layer(module: str) -> str:
    """``refconv.harness.timing`` → ``harness``; ``refconv.window`` → ``window``."""
    return module.split(".")[1] if module.startswith("refconv.") else ""


FILES = sorted((ROOT / "refconv").rglob("*.py"))
IDS = [str(p.relative_to(ROOT)) for p in FILES]


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_layers_import_downwards_only(path):
    """Nothing imports the cli; the oracle never harness, learn or cli; the core none of them."""
    here = layer(".".join(["refconv", *path.relative_to(ROOT / "refconv").with_suffix("").parts]))
    forbidden = {"cli"} if here not in ("cli", "__main__") else set()
    if here not in ("cli", "harness", "learn"):
        forbidden |= {"harness", "learn"}
    if here not in ("cli", "harness", "learn", "oracle", "testing"):
        forbidden |= {"oracle"}
    if here in STDLIB_ONLY:
        forbidden |= {"arrays", "dispatch", "backends", "functional"}
    used = {layer(module) for module, _ in imports(path)}
    assert not used & forbidden, f"{path.name} imports {sorted(used & forbidden)}"


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_heavy_libraries_stay_where_they_belong(path):
    """torch only where arrays meet it; numba and cupy only in kernels (backends load lazily) and in
    the oracle's own compiled sums, which are loaded by the first call.
    """
    where = ".".join(path.relative_to(ROOT / "refconv").with_suffix("").parts)
    for module, top in imports(path):
        library = module.split(".")[0]
        if library == "torch":
            assert where.startswith(TORCH), f"{where} imports torch"
        if library in {"numba", "cupy"}:
            allowed = where.startswith("harness") or where == "oracle.double_double"
            assert not top or allowed, f"{where} imports {library} at once"


def test_arithmetic_imports_only_the_standard_library():
    """The window, the problem and the checks need neither NumPy nor torch."""
    for name in STDLIB_ONLY:
        for module, _ in imports(ROOT / "refconv" / f"{name}.py"):
            assert module.split(".")[0] not in HEAVY | {"numpy"}, f"{name} imports {module}"


KERNELS = sorted((ROOT / "kernels").rglob("*.py"))


@pytest.mark.parametrize("path", KERNELS, ids=[str(p.relative_to(ROOT)) for p in KERNELS])
def test_kernels_know_nothing_of_refconv(path):
    """A kernel needs its own file, the contract, and its own library."""
    own = {
        "naive": set(),
        "im2col": set(),
        "numba_cpu": {"numba", "llvmlite"},
        "numba_cuda": {"numba"},
    }
    standard = {"collections", "ctypes", "fractions", "functools", "itertools", "math", "operator"}
    allowed = {"numpy", "__future__", "typing"} | standard
    allowed |= own.get(path.parent.name, set())
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{path.name} reaches outside its own package"
            names = [] if node.level else [node.module or ""]
        else:
            continue
        for name in names:
            assert name.split(".")[0] in allowed, f"{path.name} imports {name}"

"""The tree: file sizes, names, the package list, and words that do not belong in the project."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked() -> list[Path]:
    """The checkout's files; without git (an unpacked archive), all files in the code folders."""
    try:
        out = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        return [ROOT / name for name in out if name and (ROOT / name).is_file()]
    except (OSError, subprocess.CalledProcessError):
        folders = ("refconv", "kernels", "tests", "bench", "docs")
        return [p for f in folders for p in (ROOT / f).rglob("*") if p.is_file()]


SOURCES = [p for p in tracked() if p.suffix in {".py", ".cu", ".cuh", ".h", ".cpp"}]


@pytest.mark.parametrize("path", SOURCES, ids=[str(p.relative_to(ROOT)) for p in SOURCES])
def test_files_are_short(path):
    """400 lines at most, 100 columns: a file is one idea."""
    lines = path.read_text().splitlines()
    assert len(lines) <= 400, f"{path} has {len(lines)} lines; split it where a reader would"
    assert path.name != "utils.py"


def test_package_list_is_the_tree():
    """pyproject's explicit package list names exactly the folders that hold modules."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    mapped = config["package-dir"]
    found = set()
    for package, folder in mapped.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join([package, *parts]))
    data_only = {p for p, f in mapped.items() if not (ROOT / f / "__init__.py").exists()}
    assert all(any((ROOT / mapped[p]).iterdir()) for p in data_only)
    assert set(config["packages"]) == found | data_only


def test_package_data_is_what_is_no_module():
    """A wheel holds every CUDA file, headers of the emulator included."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folder, patterns = ROOT / "kernels" / "cuda", config["package-data"]["refconv.kernels.cuda"]
    shipped = {path for pattern in patterns for path in folder.glob(pattern)}
    files = {p for p in tracked() if folder in p.parents and p.suffix != ".py"}
    assert files == shipped & files
    assert {p.suffix for p in files} == {".cu", ".cuh", ".h", ".cpp"}


def test_no_machine_paths_or_hosts():
    """Nothing names a machine's paths."""
    pattern = re.compile(r"(?<![\w.~-])/(?:work|root|home/\w+|opt/\w+)/|/tmp/[a-z]")
    for path in tracked():
        if path.suffix in {
            ".py",
            ".md",
            ".toml",
            ".txt",
            ".yaml",
            ".jsonl",
            ".cu",
            ".cuh",
            ".h",
            ".cpp",
            "",
        } and path != Path(__file__):
            text = path.read_text(errors="ignore")
            match = pattern.search(text)
            assert not match, f"{path}: {match.group()}"


def test_every_test_file_asserts():
    """A test file in which nothing is asserted checks nothing."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        assert re.search(r"\bassert|raises|check_|gradcheck|opcheck", path.read_text()), path


def test_versions_agree():
    """The version is written once for packaging and once for ``refconv.__version__``."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f'__version__ = "{declared}"' in (ROOT / "refconv" / "__init__.py").read_text()

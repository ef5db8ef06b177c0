"""The house: few modules at the top, rooms of a size to look over, and private things at home."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {"__init__.py", "api.py", "hookspecs.py", "job.py"}
MOST = 16
"""Modules that a package holds directly."""


PACKAGES = [
    path.parent
    for top in ("avbench", "plugins")
    for path in sorted((ROOT / top).rglob("__init__.py"))
]


def private_imports(path: Path, module: str) -> Iterator[str]:
    """Yield the private names and modules that a module imports from another package."""
    home = module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            named = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:  # a relative import stays in the package
            continue
        for name in named:
            ours, *rest = name.split(".")
            for i, part in enumerate(rest, 1):
                owner = ".".join([ours, *rest[:i]])
                private = part.startswith("_") and not part.startswith("__")
                if private and ours.startswith("avbench") and not owner.startswith(f"{home}."):
                    yield f"{module}: {name}"


def test_the_top_of_the_package_is_its_front_door() -> None:
    assert {path.name for path in (ROOT / "avbench").glob("*.py")} == TOP


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_package_can_be_looked_over(package: Path) -> None:
    modules = [path.stem for path in package.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST, modules


def test_private_names_stay_in_their_package() -> None:
    found = []
    for package in PACKAGES:
        parts = package.relative_to(ROOT).parts
        home = ".".join(("avbench_plugins", *parts[1:]) if parts[0] == "plugins" else parts)
        for path in sorted(package.glob("*.py")):
            found += private_imports(path, f"{home}.{path.stem}")
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("from avbench.builtin.metrics._lcs import Subsequences", True),
        ("from avbench.config.suite import _check", True),
        ("import avbench.builtin.metrics._lcs", True),
        ("from avbench.runner.plan import _inner", False),
        ("from avbench.runner.plan import Plan", False),
        ("from ._layers import FusedOutput", False),
        ("from avbench import __version__", False),
    ],
)
def test_private_imports_are_found(text: str, found: bool, tmp_path: Path) -> None:
    path = tmp_path / "planner.py"
    path.write_text(text)
    assert bool([*private_imports(path, "avbench.runner.planner")]) == found

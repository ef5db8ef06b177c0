"""Hashes of code: which modules count, and which edits change them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from avbench.core.code_hash import NEUTRAL, Code

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module of the package ``pk``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(name: str, text: str) -> None:
        path = tmp_path / "pk" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for folder in (path.parent, tmp_path / "pk"):
            if not (folder / "__init__.py").exists():
                (folder / "__init__.py").write_text("")
        path.write_text(text)

    return put


def modules(name: str, **how: object) -> dict[str, str]:
    return Code().modules(name, **how)  # type: ignore[arg-type]


def test_imports_are_followed_without_running_anything(write: Write) -> None:
    write("main.py", "from .deep import part\nfrom pk.other import f\nimport os\n")
    write("other.py", 'def f():\n    """Doc."""\n    from .lazy import g\n')
    write("lazy.py", "g = 1\n")
    write("deep/part.py", "from ..unused import nothing\nx = 1\n")
    write("unused.py", "nothing = 0\n")
    write("alone.py", "raise SystemExit('never imported')\n")
    first = modules("pk.main")
    assert "pk.main" not in sys.modules
    assert list(first) == ["pk.deep.part", "pk.lazy", "pk.main", "pk.other", "pk.unused"]
    assert {p.name for p in Code().files("pk.main")} == {
        *("main.py", "other.py", "lazy.py", "part.py", "unused.py", "__init__.py"),
    }
    write("alone.py", "x = 2\n")
    write("other.py", "# why\ndef f():\n    from .lazy import g\n")
    assert modules("pk.main") == first
    write("unused.py", "nothing = 5\n")
    assert {n for n, h in modules("pk.main").items() if h != first[n]} == {"pk.unused"}


def test_names_are_followed_through_facades(write: Write) -> None:
    write("main.py", "from pk.api import f\n")
    write("api.py", "from pk.inner import f as f\nfrom pk.b import g\n\n__all__ = ['f', 'g']\n")
    write("inner/__init__.py", '"""A package."""\n\nfrom .a import f\n')
    write("inner/a.py", "def f(): pass\n")
    write("b.py", "g = 1\n")
    first = modules("pk.main")
    assert list(first) == ["pk.inner.a", "pk.main"]
    assert {p.name for p in Code().files("pk.main")} >= {"api.py", "__init__.py"}
    # Another name through the same door changes nothing; another origin does.
    write("api.py", "from pk.inner import f as f\nfrom pk.b import g, g as h\n")
    assert modules("pk.main") == first
    write("api.py", "from pk.b import g as f\n")
    assert list(modules("pk.main")) == ["pk.b", "pk.main"]
    write("api.py", "from pk.inner.a import f as e, f\n")
    assert list(modules("pk.main")) == list(first)
    assert modules("pk.main")["pk.main"] != first["pk.main"]


@pytest.mark.parametrize(
    ("main", "door", "counted"),
    [
        ("from pk.api import f\n", "from pk.a import f\nx = 1\n", ["pk.a", "pk.api", "pk.main"]),
        ("import pk.api\n", "from pk.a import f\n", ["pk.a", "pk.api", "pk.main"]),
        ("from pk.api import *\n", "from pk.a import f\n", ["pk.a", "pk.api", "pk.main"]),
        ("from pk.api import e\n", "from pk.a import f\n", ["pk.a", "pk.api", "pk.main"]),
        ("from pk import api\n", "from pk.a import f\n", ["pk.a", "pk.api", "pk.main"]),
        ("from pk.api import f\n", "from pk.a import *\n", ["pk.a", "pk.api", "pk.main"]),
    ],
    ids=["it does something", "import", "star", "a name it lacks", "as a module", "star within"],
)
def test_a_module_counts_where_it_is_no_facade_or_is_used_whole(
    write: Write, main: str, door: str, counted: list[str]
) -> None:
    write("main.py", main)
    write("api.py", door)
    write("a.py", "def f(): pass\n")
    assert list(modules("pk.main")) == counted


def test_a_package_that_does_something_counts_with_its_modules(write: Write) -> None:
    write("main.py", "from pk.inner.a import f\n")
    write("inner/__init__.py", "import os\n\nos.environ['X'] = '1'\n")
    write("inner/a.py", "def f(): pass\n")
    assert list(modules("pk.main")) == ["pk.inner", "pk.inner.a", "pk.main"]


def test_what_only_type_checkers_read_does_not_count(write: Write) -> None:
    write("main.py", "from typing import TYPE_CHECKING\nx = 1\n")
    write("a.py", "y = 1\n")
    first = modules("pk.main")
    kept = "from typing import TYPE_CHECKING\n"
    write("main.py", f"{kept}if TYPE_CHECKING:\n    from pk.a import y\nx = 1\n")
    assert modules("pk.main") == first
    write("main.py", f"{kept}if TYPE_CHECKING:\n    z = 1\nelse:\n    from pk.a import y\nx = 1\n")
    assert list(modules("pk.main")) == ["pk.a", "pk.main"]


FUSION = """
from pk.costs import layer_macs
from pk.kit import attend

FACTOR = 2

def helper(n):
    return FACTOR * layer_macs(n)

class Fusion:
    def forward(self, x):
        return attend(x)

    @classmethod
    def closed_form(cls, n):
        return helper(n)
"""


def test_formulas_for_macs_count_where_macs_are_counted(write: Write) -> None:
    write("fusion.py", FUSION)
    write("costs.py", "def layer_macs(n):\n    return n\n")
    write("kit.py", "def attend(x):\n    return x\n")
    lean, whole = modules("pk.fusion"), modules("pk.fusion", costs=True)
    assert list(lean) == ["pk.fusion", "pk.kit"]
    assert list(whole) == ["pk.costs", "pk.fusion", "pk.kit"]
    for old, new in (("FACTOR = 2", "FACTOR = 3"), ("helper(n)\n", "helper(n) + 1\n")):
        write("fusion.py", FUSION.replace(old, new))
        assert modules("pk.fusion") == lean
        assert modules("pk.fusion", costs=True) != whole
    # What anything else mentions counts.
    write("fusion.py", FUSION.replace("attend(x)\n", "attend(x) * FACTOR\n"))
    used = modules("pk.fusion")
    assert used != lean
    write("fusion.py", FUSION.replace("attend(x)\n", "attend(x) * FACTOR\n").replace("= 2", "= 3"))
    assert modules("pk.fusion") != used


def test_a_formula_that_another_module_works_with_counts(write: Write) -> None:
    write("fusion.py", FUSION)
    write("costs.py", "def layer_macs(n):\n    return n\n")
    write("kit.py", "def attend(x):\n    return x\n")
    write("user.py", "from pk.fusion import Fusion\n")
    assert list(modules("pk.user")) == ["pk.fusion", "pk.kit", "pk.user"]
    write("user.py", "from pk.fusion import Fusion, helper\nx = helper(2)\n")
    assert list(modules("pk.user")) == ["pk.costs", "pk.fusion", "pk.kit", "pk.user"]


def test_a_module_that_is_not_run_is_left_out(write: Write) -> None:
    write("main.py", "from pk.a import f\n")
    write("a.py", "from pk.b import g\n")
    write("b.py", "g = 1\n")
    assert list(modules("pk.main", without=["pk.a"])) == ["pk.main"]


def test_an_error_messages_wording_changes_no_id() -> None:
    assert "avbench.core.errors" in NEUTRAL
    files = {p.name for p in Code().files("avbench_plugins.fusions.merged")}
    assert not files & {"errors.py", "registry.py"}

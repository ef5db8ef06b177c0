"""Hashes of code: what a module and all that it imports do, without comments and docstrings."""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

CORE = "avbench"

NEUTRAL = frozenset(f"{CORE}.{m}" for m in ("errors", "hookspecs", "registry", "stage"))
"""Modules that carry values from one place to another and word errors: no result depends on
how they do it. What they hand over, settings and components, is hashed by itself."""


def code_hash(*modules: str) -> str:
    """A hash of the syntax trees of modules and of all that they import in their own package.

    Comments, docstrings, blank lines and the files' places change nothing. Imports inside
    functions count. A component's plugin is not imported by the core: name its module too.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(set().union(*(_closure(m) for m in modules))):
        digest.update(f"{name} {_module(name)[0]}\n".encode())
    return digest.hexdigest()


@functools.cache
def package_version(distribution: str) -> str:
    """Major and minor version of an installed distribution."""
    return ".".join(version(distribution).split(".")[:2])


def source_file(module: str) -> Path | None:
    """A module's file, found without running it; None where it has no source."""
    if module == CORE or module.startswith(f"{CORE}."):
        spec = importlib.util.find_spec(CORE)
        if module != CORE and spec is not None and spec.submodule_search_locations:
            base = Path(spec.submodule_search_locations[0], *module.split(".")[1:])
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.is_file():
                    return path
    loaded = sys.modules.get(module)
    origin = getattr(loaded, "__file__", None)
    if origin is None:
        try:
            found = importlib.util.find_spec(module)
        except (ImportError, ValueError):
            return None
        origin = found.origin if found else None
    file = Path(origin or "")
    return file if file.suffix == ".py" and file.is_file() else None


def files(modules: Iterable[str]) -> set[Path]:
    """The source files of modules and of all that they import in their own package."""
    names = set().union(*(_closure(m) for m in modules))
    return {path.resolve() for name in names if (path := source_file(name)) is not None}


def clear() -> None:
    """Forget what was read; for a process in which files change."""
    _module.cache_clear()
    _closure.cache_clear()


@functools.cache
def _closure(module: str) -> frozenset[str]:
    """A module and all that it imports, directly or not, within its top-level package."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        name = ahead.pop()
        if name in seen or name in NEUTRAL:
            continue
        seen.add(name)
        ahead.extend(_module(name)[1])
    return frozenset(seen)


@functools.cache
def _module(name: str) -> tuple[str, frozenset[str]]:
    """The hash of one module's syntax tree, and the modules of our interest that it imports."""
    path = source_file(name)
    if path is None:
        raise FileNotFoundError(f"module '{name}' has no source file to hash")
    tree = ast.parse(path.read_bytes(), filename=str(path))
    own = {name.partition(".")[0], CORE}
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imported: set[str] = set()
    for node in ast.walk(tree):
        imported |= _imports(node, package)
        _drop_docstring(node)
    inside = {m for m in imported if m.partition(".")[0] in own and source_file(m)}
    text = ast.dump(tree, annotate_fields=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), frozenset(inside - {name})


def _imports(node: ast.AST, package: str) -> set[str]:
    """The modules that a node may import; ``from a import b`` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    return {base, *(f"{base}.{alias.name}" for alias in node.names)} - {""}


def _drop_docstring(node: ast.AST) -> None:
    """Strings that stand as statements, docstrings of attributes included, do nothing."""
    for attribute in ("body", "orelse", "finalbody"):
        body = getattr(node, attribute, None)
        if isinstance(body, list):
            body[:] = [
                s
                for s in body
                if not (
                    isinstance(s, ast.Expr)
                    and isinstance(s.value, ast.Constant)
                    and isinstance(s.value.value, str)
                )
            ]

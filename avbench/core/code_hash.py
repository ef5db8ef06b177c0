"""Hashes of code: what a module and all that it imports do, without comments and docstrings."""

import ast
import functools
import hashlib
import importlib.util
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path

CORE = "avbench"

NEUTRAL = frozenset(
    {CORE, *(f"{CORE}.{m}" for m in ("core.errors", "hookspecs", "core.registry", "core.job"))}
)
"""Modules that carry values from one place to another and word errors: no result depends on
how they do it. What they hand over, settings and components, is hashed by itself. The package
itself holds its version and what its users import."""


class Code:
    """The modules of one moment: each is looked for once in an instance's life."""

    def __init__(self) -> None:
        self._modules: dict[str, tuple[str, frozenset[str]]] = {}
        self._closures: dict[str, frozenset[str]] = {}

    def hash(self, *modules: str) -> str:
        """A hash of the syntax trees of modules and of all that they import in their package.

        Comments, docstrings, blank lines and the files' places change nothing. Imports inside
        functions count. A component's plugin is not imported by the core: name its module too.

        Raises:
            FileNotFoundError: a module has no source file.
        """
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(set().union(*map(self._closure, modules))):
            digest.update(f"{name} {self._module(name)[0]}\n".encode())
        return digest.hexdigest()

    def files(self, *modules: str) -> set[Path]:
        """The source files of modules and of all that they import in their package."""
        names: set[str] = set().union(*map(self._closure, modules))
        return {path.resolve() for name in names if (path := source_file(name)) is not None}

    def _closure(self, module: str) -> frozenset[str]:
        """A module and all that it imports, directly or not, within its top-level package."""
        if module not in self._closures:
            seen: set[str] = set()
            ahead = [module]
            while ahead:
                name = ahead.pop()
                if name not in seen and name not in NEUTRAL:
                    seen.add(name)
                    ahead += self._module(name)[1]
            self._closures[module] = frozenset(seen)
        return self._closures[module]

    def _module(self, name: str) -> tuple[str, frozenset[str]]:
        """The hash of one module's syntax tree, and the modules of our interest it imports."""
        if name not in self._modules:
            path = source_file(name)
            if path is None:
                raise FileNotFoundError(f"module '{name}' has no source file to hash")
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            status = path.stat()
            digest, imported = _parse(path, package, status.st_mtime_ns, status.st_size)
            own = {name.partition(".")[0], CORE}
            inside = {m for m in imported if m.partition(".")[0] in own and source_file(m)}
            self._modules[name] = digest, frozenset(inside)
        return self._modules[name]


@functools.cache
def package_version(distribution: str) -> str:
    """Major and minor version of an installed distribution."""
    return ".".join(version(distribution).split(".")[:2])


def source_file(module: str) -> Path | None:
    """A module's file, found without running anything; None where it has no source."""
    origin = getattr(sys.modules.get(module), "__file__", None)
    if origin is None:
        parent = module.rpartition(".")[0]
        folders = _package_folders(parent) if parent else None
        if parent and not folders:
            return None  # not a module, but a name inside one
        try:
            # A dotted name would make find_spec import the parents.
            found = (
                PathFinder.find_spec(module, folders)
                if folders
                else importlib.util.find_spec(module)
            )
        except (ImportError, ValueError):
            return None
        origin = found.origin if found else None
    file = Path(origin or "")
    return file if file.suffix == ".py" and file.is_file() else None


def _package_folders(package: str) -> list[str]:
    """The folders of a package's modules; none for a module."""
    loaded = getattr(sys.modules.get(package), "__path__", None)
    if loaded is not None:
        return list(loaded)
    file = source_file(package)
    return [str(file.parent)] if file is not None and file.name == "__init__.py" else []


@functools.cache
def _parse(path: Path, package: str, _time: int, _size: int) -> tuple[str, frozenset[str]]:
    """A file's hash and all that it may import; parsed anew when the file has changed."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    imported: set[str] = set()
    for node in ast.walk(tree):
        imported |= _imports(node, package)
        _drop_docstring(node)
    text = ast.dump(tree, annotate_fields=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), frozenset(imported)


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

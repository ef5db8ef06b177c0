"""Hashes of code: a module and all that it imports, without comments and docstrings.

Imports are followed by name. A module that does nothing but import (``avbench.api``, a package's
``__init__``) is a doorway: what is imported through it counts where it is defined, and the rest
of the doorway does not count.
"""

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path

CORE = "avbench"

NEUTRAL = frozenset(
    f"{CORE}{name}"
    for name in (
        *("", ".hookspecs", ".core.errors", ".core.job", ".core.registry", ".core.versions"),
    )
)
"""Modules that carry values from one place to another, check and word errors: no result depends
on how they do it. What they hand over, settings and components, is hashed by itself. The package
itself holds its version and what its users import."""

METHOD, FORMULA = "closed_form", "_macs"
"""The method of components that only the counting of MACs calls, and how the names of formulas
end that it uses: no other result follows them."""

Import = tuple[str, str]
"""A module, and a name that is imported from it; no name: the module itself."""


@dataclass(frozen=True, slots=True)
class _Body:
    """A module's statements, or those of them that count."""

    digest: str
    imports: frozenset[Import]


@dataclass(frozen=True, slots=True)
class _Module:
    """A module as parsed."""

    whole: _Body
    lean: _Body
    """Without what only counting MACs needs."""
    costs: frozenset[str]
    """The names that ``lean`` lacks."""
    doorway: Mapping[str, Import] | None
    """The names that a doorway hands on, each with its origin; None: it is no doorway."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A node of the graph of imports: a module, whole or without what only costs need."""

    module: str
    whole: bool


class Code:
    """The modules of one moment: each is looked for once in an instance's life."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        self._reached: dict[tuple[_Part, frozenset[str]], frozenset[_Part]] = {}
        self._ahead: dict[_Part, tuple[str, frozenset[_Part]]] = {}
        self._doorways: set[str] = set()

    def modules(
        self, *names: str, costs: bool = False, without: Iterable[str] = ()
    ) -> dict[str, str]:
        """The hash of each of the modules that the named ones run, by name.

        It is a hash of the module's syntax tree. Comments, docstrings, blank lines, imports for
        type checkers and the files' places change nothing. Imports inside functions count. A
        component's plugin is not imported by the core: name its module too.

        Args:
            names: modules, by full name.
            costs: whether MACs are counted: only then do formulas for them (``METHOD``,
                ``FORMULA``), and what only they use, count.
            without: modules that are imported and not run, by full name.

        Raises:
            FileNotFoundError: a module has no source file.
        """
        cut = frozenset(without)
        parts = frozenset[_Part]().union(*(self._reach(_Part(n, costs), cut) for n in names))
        found = {part.module: self._follow(part)[0] for part in parts if not part.whole}
        found |= {part.module: self._follow(part)[0] for part in parts if part.whole}
        return dict(sorted(found.items()))

    def files(self, *names: str) -> set[Path]:
        """The source files of modules, of all that they import, and of the doorways between."""
        used = {*self.modules(*names, costs=True), *self._doorways}
        return {path.resolve() for name in used if (path := source_file(name)) is not None}

    def _reach(self, start: _Part, cut: frozenset[str]) -> frozenset[_Part]:
        """A module and all that it imports, directly or not, within its package and the core."""
        if (start, cut) not in self._reached:
            seen: set[_Part] = set()
            ahead = [start]
            while ahead:
                part = ahead.pop()
                if part not in seen and part.module not in cut:
                    seen.add(part)
                    ahead += self._follow(part)[1]
            self._reached[start, cut] = frozenset(seen)
        return self._reached[start, cut]

    def _follow(self, part: _Part) -> tuple[str, frozenset[_Part]]:
        """A module's hash, and the modules that it imports."""
        if part not in self._ahead:
            module = self._parsed(part.module)
            body = module.whole if part.whole else module.lean
            own = {part.module.partition(".")[0], CORE}
            found = {_Part(p, part.whole) for p in _parents(part.module) if self._acts(p)}
            digest = hashlib.blake2b(body.digest.encode(), digest_size=6)
            for source, name in sorted(body.imports):
                if source.partition(".")[0] in own:
                    origins, passed = self._origins(source, name)
                    found |= {_Part(m, part.whole or w) for m, w in origins.items()}
                    # Which origin a doorway gives a name is part of what the importer does.
                    digest.update("".join(passed).encode())
            self._ahead[part] = digest.hexdigest(), frozenset(found)
        return self._ahead[part]

    def _origins(self, source: str, name: str) -> tuple[dict[str, bool], list[str]]:
        """The modules that an imported name comes from, and the doors that it passes.

        Returns:
            Module to whether it counts whole; ``door → origin``, one text a door.
        """
        found: dict[str, bool] = {}
        inside = f"{source}.{name}" if name not in ("", "*") else ""
        if inside and inside not in NEUTRAL and self._is_module(inside):
            found[inside] = True
        if source in NEUTRAL or not self._is_module(source):
            return found, []
        if not inside:
            return {source: True}, []
        module = self._parsed(source)
        if module.doorway is None:
            return found | {source: name in module.costs}, []
        self._doorways.add(source)
        if name in module.doorway:
            origin = module.doorway[name]
            origins, passed = self._origins(*origin)
            return found | origins, [f"{source}.{name} → {origin}\n", *passed]
        return found or {source: True}, []

    def _acts(self, package: str) -> bool:
        """Whether a package's ``__init__`` does more than import."""
        return (
            package not in NEUTRAL
            and self._is_module(package)
            and self._parsed(package).doorway is None
        )

    def _is_module(self, name: str) -> bool:
        return name in self._modules or source_file(name) is not None

    def _parsed(self, name: str) -> _Module:
        if name not in self._modules:
            path = source_file(name)
            if path is None:
                raise FileNotFoundError(f"module '{name}' has no source file to hash")
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            status = path.stat()
            self._modules[name] = _parse(path, package, status.st_mtime_ns, status.st_size)
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


def _parents(module: str) -> set[str]:
    """The packages that Python runs before a module."""
    steps = module.split(".")
    return {".".join(steps[:i]) for i in range(1, len(steps))}


@functools.cache
def _parse(path: Path, package: str, _time: int, _size: int) -> _Module:
    """A file as parsed; parsed anew when it has changed."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in ast.walk(tree):
        _drop_idle(node)
    whole, doorway = _body(tree, package), _doorway(tree, package)
    costs = _drop_costs(tree)
    lean = _body(tree, package) if costs is not None else whole
    return _Module(whole, lean, frozenset(costs or ()), doorway)


def _body(tree: ast.Module, package: str) -> _Body:
    imports = frozenset(
        (source, name)
        for node in ast.walk(tree)
        for _, (source, name) in _imports(node, package)
        if source
    )
    text = ast.dump(tree, annotate_fields=False)
    return _Body(hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), imports)


def _imports(node: ast.AST, package: str) -> list[tuple[str, Import]]:
    """The names that a node binds by importing, each with its origin."""
    if isinstance(node, ast.Import):
        return [(a.asname or a.name, (a.name, "")) for a in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    return [(a.asname or a.name, (base, a.name)) for a in node.names]


def _doorway(tree: ast.Module, package: str) -> dict[str, Import] | None:
    """The names that a module hands on which does nothing but import; None for another.

    It may call what neutral modules define.
    """
    names: dict[str, Import] = {}
    for node in tree.body:
        match node:
            case ast.ImportFrom() if node.names[0].name != "*":
                names |= _imports(node, package)
            case ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
            case ast.Expr(value=ast.Call(func=ast.Name(id=name))) if (
                names.get(name, ("", ""))[0] in NEUTRAL
            ):
                pass
            case _:
                return None
    return names


def _drop_idle(node: ast.AST) -> None:
    """Drop statements that do nothing: texts (docstrings), and what only type checkers read."""
    for attribute in ("body", "orelse", "finalbody"):
        body = getattr(node, attribute, None)
        if isinstance(body, list):
            # Nested ones are walked to later.
            body[:] = [s for statement in body for s in _acting(statement)]


def _acting(statement: ast.stmt) -> list[ast.stmt]:
    """What a statement leaves of itself."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return [] if isinstance(statement.value.value, str) else [statement]
    if isinstance(statement, ast.If):
        test = statement.test
        asked = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
        if asked == "TYPE_CHECKING":
            return [s for one in statement.orelse for s in _acting(one)]
    return [statement]


def _drop_costs(tree: ast.Module) -> set[str] | None:
    """Drop formulas for MACs, and whatever else of the module only they mention.

    Returns:
        The module's own names that were dropped; None: it has no formulas.
    """
    dropped: list[ast.stmt] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            dropped += [s for s in node.body if getattr(s, "name", "") == METHOD]
            node.body[:] = [s for s in node.body if getattr(s, "name", "") != METHOD]
    formulas = {n for s in tree.body for n in _bound(s) if n.endswith(FORMULA)}
    if not dropped and not formulas:
        return None
    names: set[str] = set()
    while True:
        asked = formulas.union(*map(_mentions, dropped))
        mentioned = [(_bound(s), _mentions(s)) for s in tree.body]
        idle = {
            name
            for name in asked
            if not any(name in said for bound, said in mentioned if name not in bound)
        }
        dropped = []
        for statement in list(tree.body):
            bound = _bound(statement)
            if bound and bound <= idle:
                tree.body.remove(statement)
                dropped.append(statement)
                names |= bound
            elif isinstance(statement, ast.Import | ast.ImportFrom) and bound & idle:
                names |= bound & idle
                statement.names = [a for a in statement.names if (a.asname or a.name) not in idle]
        if not dropped:
            return names


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module gives a meaning, and does nothing else."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return set() if statement.decorator_list else {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {a.asname or a.name for a in statement.names}
    if isinstance(statement, ast.Assign):
        targets: Iterable[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return set()
    calls = any(isinstance(node, ast.Call) for node in ast.walk(statement))
    names = {t.id for t in targets if isinstance(t, ast.Name)}
    return set() if calls or len(names) < len(list(targets)) else names


def _mentions(statement: ast.stmt) -> set[str]:
    """The names that a statement may use; texts count too, as they may be annotations."""
    if _bound(statement) == {"__all__"}:
        return set()
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found

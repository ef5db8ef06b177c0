"""Hashes of code: of a module and everything that it imports, without comments and docstrings.

Imports are followed by name. A module that only imports (``avbench.api``, a package's
``__init__``) is a facade: a name imported through it is followed to the module that defines it,
and the rest of the facade does not count.
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
"""Modules that pass values on, check them and word errors: no result depends on their code. The
settings and components that they pass on are hashed by themselves. The package itself contains
its version and the names that users import."""

METHOD, FORMULA = "closed_form", "_macs"
"""The method of components that only the counting of MACs calls, and the suffix of the formulas
that it uses: no other result depends on them."""

Import = tuple[str, str]
"""A module and a name that is imported from it; an empty name: the module itself."""


@dataclass(frozen=True, slots=True)
class _Body:
    """The hash and the imports of a module's statements, or of some of them."""

    digest: str
    imports: frozenset[Import]


@dataclass(frozen=True, slots=True)
class _Module:
    """A parsed module."""

    whole: _Body
    lean: _Body
    """The module without statements that only counting MACs needs."""
    costs: frozenset[str]
    """Names that ``lean`` lacks."""
    facade: Mapping[str, Import] | None
    """Names that a facade passes on, each with its origin; None: the module is no facade."""


@dataclass(frozen=True, slots=True)
class _Node:
    """A node of the import graph: a module, whole or without what only costs need."""

    module: str
    whole: bool


class Code:
    """Hashes modules as they are now; an instance looks for each of them once."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        self._reached: dict[tuple[_Node, frozenset[str]], frozenset[_Node]] = {}
        self._followed: dict[_Node, tuple[str, frozenset[_Node]]] = {}
        self._facades: set[str] = set()

    def modules(
        self, *names: str, costs: bool = False, without: Iterable[str] = ()
    ) -> dict[str, str]:
        """Return the hash of each module that the named ones run, by name.

        A module's syntax tree is hashed. Comments, docstrings, blank lines, imports for type
        checkers and paths of files change nothing. Imports inside functions count. The core does
        not import a component's plugin: name its module too.

        Args:
            names: full names of modules.
            costs: True: MACs are counted, so their formulas (``METHOD``, ``FORMULA``) count, and
                everything that only the formulas use.
            without: full names of modules that are imported but not run.

        Raises:
            FileNotFoundError: a module has no source file.
        """
        cut = frozenset(without)
        parts = frozenset[_Node]().union(*(self._reach(_Node(n, costs), cut) for n in names))
        found = {part.module: self._follow(part)[0] for part in parts if not part.whole}
        found |= {part.module: self._follow(part)[0] for part in parts if part.whole}
        return dict(sorted(found.items()))

    def files(self, *names: str) -> set[Path]:
        """Return the source files of modules, of all that they import, and of facades between."""
        reached = {*self.modules(*names, costs=True), *self._facades}
        return {path.resolve() for name in reached if (path := source_file(name)) is not None}

    def _reach(self, start: _Node, cut: frozenset[str]) -> frozenset[_Node]:
        """Return a module and its direct and indirect imports in its package and the core."""
        if (start, cut) not in self._reached:
            seen: set[_Node] = set()
            ahead = [start]
            while ahead:
                part = ahead.pop()
                if part not in seen and part.module not in cut:
                    seen.add(part)
                    ahead += self._follow(part)[1]
            self._reached[start, cut] = frozenset(seen)
        return self._reached[start, cut]

    def _follow(self, part: _Node) -> tuple[str, frozenset[_Node]]:
        """Return a module's hash and the modules that it imports directly."""
        if part not in self._followed:
            module = self._parsed(part.module)
            body = module.whole if part.whole else module.lean
            own = {part.module.partition(".")[0], CORE}
            found = {_Node(p, part.whole) for p in _parents(part.module) if self._runs_code(p)}
            digest = hashlib.blake2b(body.digest.encode(), digest_size=6)
            for source, name in sorted(body.imports):
                if source.partition(".")[0] in own:
                    origins, passed = self._origins(source, name)
                    found |= {_Node(m, part.whole or w) for m, w in origins.items()}
                    # If a facade changes the origin of a name, the importer's result may change.
                    digest.update("".join(passed).encode())
            self._followed[part] = digest.hexdigest(), frozenset(found)
        return self._followed[part]

    def _origins(self, source: str, name: str) -> tuple[dict[str, bool], list[str]]:
        """Find the modules that an imported name comes from, and the facades that it passes.

        Returns:
            For each module, True if it counts whole; and ``name in facade → origin``, one text
            for each facade.
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
        if module.facade is None:
            return found | {source: name in module.costs}, []
        self._facades.add(source)
        if name in module.facade:
            origin = module.facade[name]
            origins, passed = self._origins(*origin)
            return found | origins, [f"{source}.{name} → {origin}\n", *passed]
        return found or {source: True}, []

    def _runs_code(self, package: str) -> bool:
        """Return True if a package's ``__init__`` does more than import."""
        return (
            package not in NEUTRAL
            and self._is_module(package)
            and self._parsed(package).facade is None
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
    """Return the major and minor version of an installed distribution."""
    return ".".join(version(distribution).split(".")[:2])


def source_file(module: str) -> Path | None:
    """Return a module's file, found without running the module; None: it has no source."""
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
    """Return the folders of a package's modules; empty for a module."""
    loaded = getattr(sys.modules.get(package), "__path__", None)
    if loaded is not None:
        return list(loaded)
    file = source_file(package)
    return [str(file.parent)] if file is not None and file.name == "__init__.py" else []


def _parents(module: str) -> set[str]:
    """Return the packages that Python runs before a module."""
    steps = module.split(".")
    return {".".join(steps[:i]) for i in range(1, len(steps))}


@functools.cache
def _parse(path: Path, package: str, _time: int, _size: int) -> _Module:
    """Parse a file; the time and size in the cache's key make a changed file be parsed again."""
    tree = ast.parse(path.read_bytes(), filename=str(path))
    for node in ast.walk(tree):
        _drop_no_ops(node)
    whole, facade = _body(tree, package), _facade(tree, package)
    costs = _drop_costs(tree)
    lean = _body(tree, package) if costs is not None else whole
    return _Module(whole, lean, frozenset(costs or ()), facade)


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
    """Return the names that a node binds by importing, each with its origin."""
    if isinstance(node, ast.Import):
        return [(a.asname or a.name, (a.name, "")) for a in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *([base] if base else [])])
    return [(a.asname or a.name, (base, a.name)) for a in node.names]


def _facade(tree: ast.Module, package: str) -> dict[str, Import] | None:
    """Return the names that a facade passes on; None if the module does more than import.

    A facade may call functions of neutral modules.
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


def _drop_no_ops(node: ast.AST) -> None:
    """Drop statements that do nothing: texts (docstrings), and those for type checkers alone."""
    for attribute in ("body", "orelse", "finalbody"):
        body = getattr(node, attribute, None)
        if isinstance(body, list):
            # The walk reaches nested statements later.
            body[:] = [s for statement in body for s in _effective(statement)]


def _effective(statement: ast.stmt) -> list[ast.stmt]:
    """Return the statements that remain of one without texts and type checkers' branches."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return [] if isinstance(statement.value.value, str) else [statement]
    if isinstance(statement, ast.If):
        test = statement.test
        asked = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
        if asked == "TYPE_CHECKING":
            return [s for one in statement.orelse for s in _effective(one)]
    return [statement]


def _drop_costs(tree: ast.Module) -> set[str] | None:
    """Drop formulas for MACs, and everything in the module that only they mention.

    Returns:
        The module's own names that were dropped; None: the module has no formulas.
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
    """Return the names that a statement binds; empty if it may do more than bind names."""
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
    """Return the names that a statement may use; texts count too, as possible annotations."""
    if _bound(statement) == {"__all__"}:
        return set()
    found: set[str] = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)
    return found

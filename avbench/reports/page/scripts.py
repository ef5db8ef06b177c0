"""The scripts of a page, read from installed packages, and their hashes for its policy.

DataTables comes with itables, BokehJS with bokeh. Both are read when a page is written.
"""

import re
from base64 import b64encode
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from markupsafe import Markup

from avbench.core.errors import AvbenchError

EXPORTED = re.compile(r"export\s*\{[^}]*?(\w+) as default\b")
"""The name of a module's default export within the module."""

LEAVES = {"<!--": "\\x3C!--", "</script": "\\x3C/script", "<script": "\\x3Cscript"}
"""Texts that an HTML parser reads within a script → the same for JavaScript alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Script:
    """A script of a page."""

    text: Markup
    module: bool = False

    @property
    def digest(self) -> str:
        """The source expression that allows it in a content security policy."""
        return f"'sha256-{b64encode(sha256(self.text.encode()).digest()).decode()}'"


@cache
def page_scripts(*, plots: bool) -> tuple[Script, ...]:
    """Return the scripts of a page, in order.

    Args:
        plots: the page has plots.

    Raises:
        AvbenchError: an installed package holds no such script.
    """
    own = _read(Path(__file__).with_name("page.js"))
    table = _read(_package("itables") / "html" / "dt_bundle.js")
    found = EXPORTED.search(table)
    if found is None:
        raise AvbenchError("itables: its DataTables has no default export; install itables 2.9")
    # One module: an inline module cannot import another one.
    whole = Script(text=_inline(f"{table}\nconst DataTable = {found[1]};\n{own}"), module=True)
    if not plots:
        return (whole,)
    folder = _package("bokeh") / "server" / "static" / "js"
    bokeh = (_read(folder / name) for name in ("bokeh.min.js", "bokeh-api.min.js"))
    return (*(Script(text=_inline(text)) for text in bokeh), whole)


def _package(name: str) -> Path:
    """Return the folder of an installed package, without importing it."""
    found = find_spec(name)
    if found is None or found.origin is None:
        raise AvbenchError(f"{name} is not installed, and the HTML report needs it")
    return Path(found.origin).parent


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise AvbenchError(f"{path}: cannot be read: {error.strerror}") from None


def _inline(text: str) -> Markup:
    """Return a script that an HTML parser reads to its end."""
    for leaves, same in LEAVES.items():
        text = re.sub(re.escape(leaves), lambda _, same=same: same, text, flags=re.IGNORECASE)  # type: ignore[misc]
    return Markup(text.replace("\r\n", "\n"))

"""Write a page: a Jinja template with the scripts of installed packages.

Every text is escaped by the template. Data lie in JSON that no HTML parser leaves early. A content
security policy allows the page's own scripts alone, by their hashes, and no connection.
"""

import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from avbench.core.visible import one_line, visible
from avbench.reports.page.cells import hint, sort_key
from avbench.reports.page.contents import Page, Section
from avbench.reports.page.scripts import Script, page_scripts
from avbench.reports.table import Picture, Sheet

UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters of JSON that HTML or a script could read as their own → their escapes."""


def tables(sheets: Sequence[Sheet]) -> str:
    """Write a page with tables and their pictures alone, without a script."""
    title = "; ".join(sheet.title for sheet in sheets) or "avbench"
    return _write(Page(title=title, sections=(Section(title="", sheets=tuple(sheets)),)), ())


def page(contents: Page) -> str:
    """Write a whole report page."""
    return _write(contents, page_scripts(plots=bool(contents.plots)))


def _write(contents: Page, scripts: Sequence[Script]) -> str:
    places = {place: number for number, place in enumerate(contents.figures)}

    def origin(sheet: Sheet, row: int, column: int) -> int | None:
        """Return the number of a cell's figure among those with an origin."""
        return places.get((sheet.labels[row], *sheet.keys[column])) if sheet.labels else None

    written: str = _template().render(
        page=contents,
        scripts=scripts,
        origin=origin,
        data=_embedded(contents) if scripts else "",
        style=_style("tables.css", *(["page.css"] if scripts else [])),
    )
    return written


def _style(*names: str) -> Markup:
    """Return style sheets of this package, one after the other."""
    return Markup("".join((files(__package__) / name).read_text("utf-8") for name in names))


@cache
def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("avbench.reports.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals.update(hint=hint, sort_key=sort_key, image=image)
    return environment.get_template("page.html.j2")


def _shown(value: Any) -> Any:
    """Return a text with hidden characters as escapes."""
    return one_line(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def image(picture: Picture) -> Markup:
    """Return a picture as a data URL: as an image, it runs no script and shares no names."""
    return Markup("data:image/svg+xml;base64,") + b64encode(picture.svg).decode()


def _embedded(contents: Page) -> Markup:
    """Return the data of the page's script as JSON."""
    data = {
        "figures": [
            {"label": label, "dataset": dataset, "metric": metric, "seeds": seeds}
            for (label, dataset, metric), seeds in contents.figures.items()
        ],
        "stages": contents.stages,
        "commands": contents.commands,
        "plots": contents.plots,
        "gallery": contents.gallery,
    }
    text = json.dumps(_plain(data), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return Markup("".join(UNSAFE.get(c, c) for c in text))


def _plain(value: Any) -> Any:
    """Return data for JSON, with hidden characters of texts as escapes."""
    if is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    match value:
        case str():
            return visible(value, keep="\n")
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {visible(str(k)): _plain(v) for k, v in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
    return value

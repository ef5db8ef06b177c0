"""Tables as one self-contained HTML page: no script, font or style from outside."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape as html_escape

from avbench.core.visible import one_line
from avbench.reports.table import Picture, Sheet, TableCell

STYLE = """
:root { color-scheme: light dark; --rule: #0003; --soft: #0009; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --rule: #fff3; --soft: #fff9; --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 95rem; padding: 0 1rem; }
section { margin-bottom: 3rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-size: 1.2rem; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .3rem .75rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
thead { border-top: 2px solid; border-bottom: 1px solid; }
thead tr.groups th { text-align: center; padding-bottom: 0; }
thead tr.groups th[colspan] span { display: block; border-bottom: 1px solid var(--rule); }
thead th { font-weight: 600; }
tbody { border-bottom: 2px solid; }
tbody th { font-weight: 400; }
tbody tr:hover { background: var(--rule); }
sup { font-size: .7em; line-height: 0; }
.small { color: var(--soft); font-size: .85em; }
.none { color: var(--soft); }
.failed { color: var(--bad); }
.under { color: var(--soft); font-size: .875rem; overflow-wrap: anywhere; }
.under p { margin: .25rem 0; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; background: #fff; }
figcaption { color: var(--soft); font-size: .875rem; }
""".strip()


def escape(text: str) -> str:
    """Escape a text so that HTML shows it as it stands, hidden characters as escapes."""
    return html_escape(one_line(text))


def render(sheets: Sequence[Sheet]) -> str:
    """Write one page with all tables."""
    title = escape("; ".join(sheet.title for sheet in sheets)) or "avbench"
    head = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>\n{STYLE}\n</style>",
        "</head>",
        "<body>",
    ]
    body = [line for sheet in sheets for line in _table(sheet)]
    return "\n".join([*head, *body, "</body>", "</html>", ""])


def _table(sheet: Sheet) -> list[str]:
    groups = "".join(
        f'<th colspan="{width}" scope="colgroup"><span>{escape(name)}</span></th>'
        for name, width in sheet.groups
    )
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in sheet.columns)
    lines = [
        '<section><div class="wide"><table>',
        f"<caption>{escape(sheet.title)}</caption>",
        "<thead>",
        f'<tr class="groups"><th></th>{groups}</tr>',
        f'<tr><th scope="col">{escape(sheet.corner)}</th>{columns}</tr>',
        "</thead>",
        "<tbody>",
    ]
    for title, cells in sheet.rows:
        lines.append(f'<tr><th scope="row">{escape(title)}</th>{"".join(map(_cell, cells))}</tr>')
    lines += ["</tbody>", "</table></div>", '<div class="under">']
    lines += [f"<p><sup>{n}</sup> {escape(text)}</p>" for n, text in enumerate(sheet.footnotes, 1)]
    lines += [f"<p>{escape(text)}</p>" for text in (*sheet.legend, *sheet.notes)]
    lines.append("</div>")
    return [
        *lines,
        *(line for picture in sheet.pictures for line in _picture(picture)),
        "</section>",
    ]


def _picture(picture: Picture) -> list[str]:
    """Embed a picture as an image: it can run no script and shares no names with others."""
    data = b64encode(picture.svg).decode()
    return [
        "<figure>",
        f'<img alt="{escape(picture.title)}" src="data:image/svg+xml;base64,{data}">',
        f"<figcaption><strong>{escape(picture.title)}.</strong> {escape(picture.caption)}"
        "</figcaption>",
        "</figure>",
    ]


def _cell(cell: TableCell) -> str:
    tag = (None, "strong", "em")[cell.rank]
    figure = escape(cell.text)
    figure = f"<{tag}>{figure}</{tag}>" if tag else figure
    beside = " ".join(part for part in (cell.spread, cell.change) if part)
    beside = f' <span class="small">{escape(beside)}</span>' if beside else ""
    marks = ",".join(map(str, cell.footnotes))
    marks = f"<sup>{marks}</sup>" if marks else ""
    kind = "" if cell.mean is not None else f' class="none {escape(cell.status)}"'
    return f"<td{kind}>{figure}{beside}{marks}</td>"

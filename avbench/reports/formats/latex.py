r"""Tables as LaTeX, each a ``table`` environment; needs ``\usepackage{booktabs}``.

Figures are ``figure`` environments of the PNG files; they need ``\usepackage{graphicx}``.
"""

import re
from collections.abc import Sequence

from avbench.core.visible import one_line
from avbench.reports.table import Picture, Sheet, TableCell

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after a line's end it would begin an option of \\
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "–": "--",
    "…": r"\ldots{}",
    "†": r"\textsuperscript{$\dagger$}",
}
LIGATURES = r"-(?=-)|'(?=')|,(?=,)"
"""Letters that TeX would join with the next one."""
ACTIVE = re.compile(f"[{re.escape(''.join(SPECIAL))}]|{LIGATURES}")
INDENT = "  "


def render(sheets: Sequence[Sheet]) -> str:
    """Write the tables one after the other."""
    return "\n".join(_table(sheet) for sheet in sheets)


def escape(text: str) -> str:
    r"""Escape a text so that LaTeX prints it as it stands.

    >>> escape("local_global & 5 %")
    'local\\_global \\& 5 \\%'
    """
    return ACTIVE.sub(lambda found: SPECIAL.get(found[0], found[0] + "{}"), one_line(text))


def _table(sheet: Sheet) -> str:
    spans, rules, first = [], [], 2
    for name, width in sheet.groups:
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{escape(name)}}}")
        rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    header = " & ".join(map(escape, (sheet.corner, *sheet.columns)))
    body = [
        rf"{' & '.join([escape(title), *map(_cell, cells)])} \\" for title, cells in sheet.rows
    ]
    grid = [
        rf"\begin{{tabular}}{{l{'r' * len(sheet.columns)}}}",
        r"\toprule",
        rf" & {' & '.join(spans)} \\",
        " ".join(rules),
        rf"{header} \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    under = [
        rf"\textsuperscript{{{n}}}~{escape(text)}" for n, text in enumerate(sheet.footnotes, 1)
    ]
    under += map(escape, (*sheet.legend, *sheet.notes))
    lines = [r"\centering", rf"\caption{{{escape(sheet.title)}}}", *grid]
    if under:
        lines += [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += [f"{text} \\\\" for text in under[:-1]]
        lines += [under[-1], r"\end{minipage}"]
    table = [r"\begin{table}", *(INDENT + line for line in lines), r"\end{table}", ""]
    return "\n".join([*table, *(line for p in sheet.pictures for line in _picture(p))])


def _picture(picture: Picture) -> list[str]:
    lines = [
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{picture.name}.png}}",
        rf"\caption{{{escape(picture.title)}. {escape(picture.caption)}}}",
    ]
    return ["", r"\begin{figure}", *(INDENT + line for line in lines), r"\end{figure}", ""]


def _cell(cell: TableCell) -> str:
    figure = _numeral(cell.text)
    if cell.rank:
        figure = rf"\{('textbf', 'textit')[cell.rank - 1]}{{{figure}}}"
    parts = [figure, escape(cell.spread), _numeral(cell.change)]
    marks = ",".join(map(str, cell.footnotes))
    text = " ".join(part for part in parts if part)
    return text + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _numeral(text: str) -> str:
    """Escape a figure, with a true minus sign."""
    return escape(text).replace("-", "$-$") if any(c.isdigit() for c in text) else escape(text)

r"""Tables as LaTeX in the layout of papers; they need ``booktabs`` and ``graphicx``.

Each table is a ``table*``, so it spans both columns of a two-column class. What belongs under
it (reasons for missing figures, notes, signatures) is a file of its own, for an appendix.

A table that is too wide is broken between its groups of columns into panels, and one that is too
long is continued in further floats. The widths of characters are estimated here. LaTeX itself
scales a panel that is still wider than the text, so that no class makes an overfull box.

Figures are ``figure`` environments of the PNG files.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from avbench.core.visible import one_line
from avbench.reports.formats.panels import panels
from avbench.reports.table import SIGNIFICANT, TITLES, Picture, Sheet, TableCell

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
    '"': "''",
    "[": "{[}",  # after a line's end it would begin an option of \\
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": "$-$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "†": r"\textsuperscript{$\dagger$}",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
}
GREEK = "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi"
SPECIAL |= {
    unicodedata.lookup(f"GREEK SMALL LETTER {name.replace('lambda', 'lamda')}"): rf"$\{name}$"
    for name in f"{GREEK} pi rho sigma tau upsilon phi chi psi omega".split()
} | {"Δ": r"$\Delta$", "Σ": r"$\Sigma$", "Ω": r"$\Omega$", "µ": r"$\mu$"}
WRITTEN = (
    "¡¢£¤¥¦§¨©ª¬®¯°²³´¶·¸¹º¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõö÷øùúûüýÿ"
    "ĀāĂăĆćĈĉĊċČčĎďĒēĔĕĖėĚěĜĝĞğĠġĢģĤĥĨĩĪīĬĭİıĲĳĴĵĶķĹĺĻļĽľŁłŃńŅņŇňŌōŎŏŐőŒœŔŕŖŗŘřŚśŜŝŞşŠšŢţŤťŨũŪūŬŭ"
    "ŮůŰűŴŵŶŷŸŹźŻżŽž‡€™"
)
"""Letters beyond ASCII that LaTeX prints as they are, with its default fonts; of others it says
that they are not set up. They are printed as their numbers, ``U+65E5``."""
LIGATURES = r"-(?=-)|'(?=')|,(?=,)|!(?=`)|\?(?=`)"
"""Letters that TeX would join with the next one."""
ACTIVE = re.compile(f"[{re.escape(''.join(SPECIAL))}]|{LIGATURES}|[^\\x00-\\x7f{WRITTEN}]")
SEPARATOR = re.compile(r"([/|:_.,;=+\-])(?=\S)")
"""Letters after which a long word may be broken."""
WORD = 12
"""Letters of a word after which it may be broken anywhere."""

SCORES = ("bleu4", "meteor", "rougeL", "cider")
LETTERS = {TITLES[m]: letter for m, letter in zip(SCORES, "BMRC", strict=True)}
"""The scores that papers abbreviate, by title."""

INDENT = "  "
WIDTH = 520.0
"""Width of a panel in pt. The text of two-column classes has 490 to 516, so that the widest panels
are scaled a little; that of one-column classes has 345 to 470."""
STEP = 10.0
"""Difference in pt of the widths that are tried for equal panels."""
LINES = 44
"""Lines of all panels of a float; with the caption they fill less than a page."""
HEADER = 12
"""Characters of a line of a header; longer ones are broken between words."""
NAMES = {7: 26, 2: 46, 0: 70}
"""Number of columns, at least → the same of a row's name. Captions stand beside one column."""
GAP = 3.0
"""``\\tabcolsep`` in pt."""


def render(sheets: Sequence[Sheet]) -> str:
    """Write the tables one after the other, without their notes."""
    labels: dict[str, int] = {}
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for sheet in sheets:
        slug = re.sub(r"[^a-z0-9]+", "-", sheet.title.lower()).strip("-") or "table"
        labels[slug] = labels.get(slug, 0) + 1
        label = f"tab:{slug}" + (f"-{labels[slug]}" if labels[slug] > 1 else "")
        lines += _Drawn(sheet).floats(label)
        lines += [line for picture in sheet.pictures for line in _picture(picture)]
    return "\n".join([*lines, ""])


def notes(sheets: Sequence[Sheet]) -> str:
    """Write the texts under the tables: numbered footnotes, then notes and signatures."""
    lines = [r"\begingroup\footnotesize\raggedright\setlength{\parindent}{0pt}"]
    for sheet in sheets:
        numbered = enumerate(sheet.footnotes, 1)
        texts = [rf"\textsuperscript{{{n}}}~{breakable(text)}" for n, text in numbered]
        texts += map(breakable, sheet.notes)
        lines += ["", rf"\textbf{{{breakable(sheet.title)}}}", ""]
        lines += [line for text in texts for line in (text, "")]
    return "\n".join([*lines, r"\par\endgroup", ""])


def escape(text: str) -> str:
    r"""Escape a text so that LaTeX prints it as it stands.

    >>> escape("local_global & 5 %")
    'local\\_global \\& 5 \\%'
    """
    return ACTIVE.sub(_escaped, unicodedata.normalize("NFC", one_line(text)))


def breakable(text: str) -> str:
    r"""Escape a text, and let LaTeX break its long words.

    >>> breakable("results/stages/log.txt")
    'results/\\allowbreak{}stages/\\allowbreak{}log.\\allowbreak{}txt'
    """
    return " ".join(map(_breakable, one_line(text).split(" ")))


def _breakable(word: str) -> str:
    if len(word) <= WORD:
        return escape(word)
    pieces = [
        piece
        for part in SEPARATOR.sub("\\1\n", word).split("\n")
        for piece in (part[i : i + WORD] for i in range(0, len(part), WORD))
    ]
    return r"\allowbreak{}".join(map(escape, pieces))


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in SPECIAL:
        return SPECIAL[letter]
    return letter + "{}" if letter.isascii() else rf"\texttt{{U+{ord(letter):04X}}}"


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A table that is being written."""

    sheet: Sheet

    def floats(self, label: str) -> Iterator[str]:
        """Yield the lines of the table's floats."""
        height = 0
        held: list[list[str]] = []
        number = 0
        for lines, panel in self._panels():
            if held and height + lines > LINES:
                yield from self._float(held, label, number)
                held, height, number = [], 0, number + 1
            held.append(panel)
            height += lines
        if held:
            yield from self._float(held, label, number)

    def _float(self, held: Sequence[Sequence[str]], label: str, number: int) -> Iterator[str]:
        caption = breakable(self.sheet.title)
        if number:
            head = [r"\addtocounter{table}{-1}", rf"\caption{{{caption} (continued)}}"]
        else:
            said = " ".join([_sentence(caption), *map(breakable, self._key())])
            head = [rf"\caption{{{said}}}", rf"\label{{{label}}}"]
        setting = rf"\centering\footnotesize\setlength{{\tabcolsep}}{{{GAP:g}pt}}"
        body = [line for panel in held for line in (r"\par\smallskip", *panel)]
        inner = (INDENT + line for line in (setting, *head, *body))
        yield from ("", r"\begin{table*}", *inner, r"\end{table*}")

    def _key(self) -> list[str]:
        """Return what a reader of the float must know."""
        used = {title: LETTERS[title] for title in self.sheet.columns if title in LETTERS}
        said = ", ".join(f"{letter}: {title}" for title, letter in used.items())
        return [*([f"{said}."] if said else []), *self.sheet.legend]

    def _panels(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the panels: their number of lines, and their LaTeX."""
        sheet = self.sheet
        most = next(width for least, width in NAMES.items() if len(sheet.columns) >= least)
        names = [_lines(name, most) for name in sheet.short]
        width = max([_width(line) for name in names for line in name] or [0.0])
        needed = self._widths()
        columns = self._columns(width, needed)
        head = 1 + max(len(self._header(j)) for j in range(len(needed))) if needed else 1
        chunk: list[int] = []
        chunks, height = [chunk], head
        for i, name in enumerate(names):
            if chunk and height + len(name) > LINES:
                chunk, height = [], head
                chunks.append(chunk)
            chunk.append(i)
            height += len(name)
        for rows in chunks:
            for panel in columns:
                lines = 2 + head + sum(len(names[i]) for i in rows)
                yield lines, self._panel(panel, rows, names)

    def _columns(self, names: float, needed: Sequence[float]) -> list[list[int]]:
        """Return the columns of each panel: as few panels as fit, and as equal as can be."""
        made = panels(self.sheet, names, needed, WIDTH)
        most = WIDTH
        while len(made) > 1 and most > STEP:
            most -= STEP
            narrower = panels(self.sheet, names, needed, most)
            if len(narrower) > len(made):
                break
            made = narrower
        return made

    def _widths(self) -> list[float]:
        """Estimate the width of each column in pt."""
        made = []
        for j in range(len(self.sheet.columns)):
            cells = (self._cell_width(cells[j]) for _, cells in self.sheet.rows)
            made.append(max([*map(_width, self._header(j)), *cells]) + 2 * GAP)
        first = 0
        for name, wide in self.sheet.groups:
            least = max(map(_width, _lines(name, HEADER * wide))) + 2 * GAP
            short = least - sum(made[first : first + wide])
            made[first] += max(0.0, short)
            first += wide
        return made

    def _cell_width(self, cell: TableCell) -> float:
        marks = ",".join(map(str, cell.footnotes))
        return _width(cell.text) + 0.8 * _width(cell.spread + marks) + 0.9 * _width(cell.change)

    def _header(self, j: int) -> list[str]:
        title = self.sheet.columns[j]
        return _lines(LETTERS.get(title, title), HEADER)

    def _panel(
        self, columns: Sequence[int], rows: Sequence[int], names: Sequence[Sequence[str]]
    ) -> list[str]:
        """Return the LaTeX of some columns and rows, scaled if it is wider than the text."""
        sheet = self.sheet
        of_column = [group for group, (_, wide) in enumerate(sheet.groups) for _ in range(wide)]
        spans, rules, first = [], [], 2
        for group, (name, _) in enumerate(sheet.groups):
            width = sum(of_column[j] == group for j in columns)
            if width:
                title = _stacked(_lines(name, HEADER * width), "b", "c")
                spans.append(rf"\multicolumn{{{width}}}{{c}}{{{title}}}")
                rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
                first += width
        heads = [_stacked(self._header(j), "b", "c") for j in columns]
        body = []
        for i in rows:
            cells = [_cell(sheet.rows[i][1][j]) for j in columns]
            body.append(" & ".join([_stacked(names[i], "t", "l"), *cells]) + r" \\")
        grid = [
            rf"\begin{{tabular}}{{@{{}}l{'c' * len(columns)}@{{}}}}",
            r"\toprule",
            rf" & {' & '.join(spans)} \\",
            " ".join(rules),
            rf"{' & '.join([escape(sheet.corner), *heads])} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}%",
        ]
        fit = r"\ifdim\wd0>\textwidth\resizebox{\textwidth}{!}{\usebox0}\else\usebox0\fi"
        return [r"\sbox0{%", *grid, fit]


def _picture(picture: Picture) -> list[str]:
    lines = [
        r"\centering",
        rf"\includegraphics[width=\linewidth]{{{picture.name}.png}}",
        rf"\caption{{{breakable(picture.title)}. {breakable(picture.caption)}}}",
    ]
    return ["", r"\begin{figure}", *(INDENT + line for line in lines), r"\end{figure}"]


def _cell(cell: TableCell) -> str:
    figure = _numeral(cell.text)
    if cell.rank:
        figure = rf"\{('textbf', 'textit')[cell.rank - 1]}{{{figure}}}"
    if cell.spread:
        figure += rf"\textsubscript{{{escape(cell.spread).replace('$ ', '$')}}}"
    text = " ".join(part for part in (figure, _change(cell)) if part)
    marks = ",".join(map(str, cell.footnotes))
    return text + (rf"\textsuperscript{{{marks}}}" if marks else "")


def _change(cell: TableCell) -> str:
    """Return a difference with an arrow for its direction."""
    gap = cell.change.strip(f"(){SIGNIFICANT}")
    if not gap:
        return ""
    size = gap.lstrip("+-")
    arrow = "" if not float(gap) else rf"\,$\{'down' if gap[0] == '-' else 'up'}arrow$"
    mark = escape(SIGNIFICANT) if cell.significant else ""
    return rf"{{\scriptsize({size}{arrow}{mark})}}"


def _numeral(text: str) -> str:
    """Escape a figure, with a true minus sign."""
    return escape(text).replace("-", "$-$") if any(c.isdigit() for c in text) else escape(text)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _lines(text: str, most: int) -> list[str]:
    """Break a text between words into lines of at most so many characters; a word stays whole."""
    return wrap(one_line(text), most, break_long_words=False, break_on_hyphens=False) or [""]


def _stacked(lines: Sequence[str], at: str, align: str) -> str:
    if len(lines) == 1:
        return escape(lines[0])
    body = r"\\".join(map(escape, lines))
    return rf"\begin{{tabular}}[{at}]{{@{{}}{align}@{{}}}}{body}\end{{tabular}}"


def _width(text: str) -> float:
    """Estimate the width in pt of a text of 8 pt, bold figures included."""
    widths = (2.6 if c in ".,:;'il|!()[] " else 7.4 if c in "mwMW%±" else 4.9 for c in text)
    return sum(widths, 0.0)

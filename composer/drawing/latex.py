"""Any text in LaTeX, for every engine and font encoding: ASCII, with commands for the rest."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from composer.drawing.text import numbered, shown

_ASCII: Mapping[str, str] = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "%": r"\%", "&": r"\&", "$": r"\$",
    "#": r"\#", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"{\char34}",
    "`": r"{\char96}",
}  # fmt: skip

_MATH: Mapping[str, str] = {
    "×": r"\times", "÷": r"\div", "±": r"\pm", "·": r"\cdot", "−": "-", "√": r"\surd",
    "′": "{}'", "″": "{}''", "°": r"{}^\circ", "¬": r"\neg", "∑": r"\sum", "∏": r"\prod",
    "∂": r"\partial", "∇": r"\nabla", "∞": r"\infty", "∈": r"\in", "∘": r"\circ", "⊙": r"\odot",
    "⊗": r"\otimes", "⊕": r"\oplus", "≤": r"\leq", "≥": r"\geq", "≠": r"\neq", "≈": r"\approx",
    "∼": r"\sim", "≡": r"\equiv", "∥": r"\parallel", "‖": r"\parallel", "∧": r"\wedge",
    "∨": r"\vee", "∩": r"\cap", "∪": r"\cup", "⌊": r"\lfloor", "⌋": r"\rfloor", "⌈": r"\lceil",
    "⌉": r"\rceil", "←": r"\leftarrow", "↑": r"\uparrow", "→": r"\rightarrow",
    "↓": r"\downarrow", "↔": r"\leftrightarrow", "⇒": r"\Rightarrow", "⇔": r"\Leftrightarrow",
    "↦": r"\mapsto", "µ": r"\mu", "ℓ": r"\ell", "«": r"\ll", "»": r"\gg", "∗": "*", "•": r"\bullet",
    "ϵ": r"\epsilon", "ϕ": r"\phi", "ϑ": r"\vartheta", "ς": r"\varsigma", "ο": "o",
}  # fmt: skip

_TEXT: Mapping[str, str] = {
    "…": r"\ldots{}", "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}",
    "Œ": r"\OE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}", "§": r"\S{}", "¶": r"\P{}",
    "©": r"\copyright{}", "£": r"\pounds{}", "¿": r"?{`}", "¡": r"!{`}", "\xa0": "~",
}  # fmt: skip

_ACCENTS: Mapping[str, str] = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u",
    "\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip

_NUMBER = re.compile(r"<U\+[0-9A-F]{4,6}>")
#: Pairs of characters that TeX fonts join as ligatures: --, '', ,, and so on.
_JOINED = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=,)(?=,)|(?<=[?!])(?=`)")


def told(text: str) -> str:
    """Return a text on one line in which characters that LaTeX lacks are numbers.

    Such as ``<U+1F600>``. So estimated widths match those in LaTeX.
    """
    return "".join(c if _command(c) is not None else numbered(c) for c in shown(text))


def latex(text: str) -> str:
    """Return a text that LaTeX prints literally: ASCII, on one line."""
    known = told(text)
    parts = []
    at = 0
    for number in _NUMBER.finditer(known):
        parts += [_plain(known[at : number.start()]), rf"\texttt{{{number[0]}}}"]
        at = number.end()
    return "".join([*parts, _plain(known[at:])])


def _plain(text: str) -> str:
    apart = _JOINED.sub("\0", text)
    return "".join("{}" if char == "\0" else _command(char) or "" for char in apart)


def _command(char: str) -> str | None:
    """Return the command that prints a character; None where LaTeX has none."""
    if " " <= char <= "~":
        return _ASCII.get(char, char)
    if char in _TEXT:
        return _TEXT[char]
    if char in _MATH:
        return f"${_MATH[char]}$"
    return _greek(char) or _raised(char) or _accented(char)


def _greek(char: str) -> str | None:
    found = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(char, ""))
    if found is None or not "Α" <= char <= "ω":
        return None
    name = {"LAMDA": "LAMBDA"}.get(found[2], found[2]).lower()
    if found[1] == "SMALL":
        return rf"$\{name}$"
    if char in "ΓΔΘΛΞΠΣΥΦΨΩ":
        return rf"$\{name.capitalize()}$"
    return dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧ", "ABEZHIKMNOPTX", strict=True)).get(char)


def _raised(char: str) -> str | None:
    """Return a letter or digit as superscript or subscript."""
    sort, _, plain = unicodedata.decomposition(char).partition(" ")
    signs = {"<sub>": "_", "<super>": "^"}
    if sort not in signs or " " in plain:
        return None
    base = chr(int(plain, 16))
    inside = _MATH.get(base) or (_greek(base) or "").strip("$") or base
    usable = base in _MATH or _greek(base) or (base.isascii() and base.isalnum()) or base in "+=()"
    return f"${{}}{signs[sort]}{{{inside}}}$" if usable else None


def _accented(char: str) -> str | None:
    parts = unicodedata.normalize("NFD", char)
    base, accent = parts[0], parts[1:]
    if accent not in _ACCENTS or not (base.isascii() and base.isalpha()):
        return None
    dotless = {"i": r"\i", "j": r"\j"} if accent != "\u0327" else {}
    return rf"\{_ACCENTS[accent]}{{{dotless.get(base, base)}}}"

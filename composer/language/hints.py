"""The way out for an unknown name, where there may be thousands of names and of such mistakes."""

from __future__ import annotations

from collections.abc import Sequence

from composer.errors import did_you_mean, suggestion

#: Of the names that there are; a longer list is told by its last.
SHOWN = 100
#: With how many names all mistakes of one pass are compared.
COMPARED = 20_000


class Hints:
    """Gives each unknown name its way out; the later of very many get a shorter one."""

    def __init__(self) -> None:
        self._left = COMPARED

    def suggestion(self, word: str, known: Sequence[str], label: str) -> str:
        """Return near words, then those that there are."""
        self._left -= len(known)
        if len(known) <= SHOWN:
            return suggestion(word, known, label)
        near = did_you_mean(word, known) if self._left >= 0 else None
        shown = f"{label}, the last {SHOWN} of {len(known):,}: {', '.join(known[-SHOWN:])}"
        return f"{near} {shown}" if near else shown

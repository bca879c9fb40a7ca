"""Names of the values in a forward: the last value of a spec node has the node's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from composer.exporting.python.names import free_name
from composer.exporting.python.sequences import refs
from composer.exporting.python.written import Call
from composer.lower.run_time import of_size

_VIEWS = ("permute", "flatten", "unflatten", "unsqueeze", "squeeze", "contiguous")


@dataclass
class Variables:
    """Names the values that statements make.

    Intermediate values of a node also have its name where that is free, and a view of a value that
    is not read afterwards has that value's name.

    Args:
        by_name: all calls.
        users: of each value.
        parts_of: the values of a call that returns several.
        stands_inside: whether a call is written where its value is used.
    """

    by_name: Mapping[str, Call]
    users: Mapping[str, list[Call]]
    parts_of: Callable[[Call], list[Call]]
    stands_inside: Callable[[Call], bool]
    _names: dict[str, str] = field(default_factory=dict)
    _where: dict[str, int] = field(default_factory=dict)  # the statement that makes a value
    _given: list[Call] = field(default_factory=list)

    def names(self, statements: Sequence[Call], inputs: Sequence[str]) -> dict[str, str]:
        """Return the name of each value that has one."""
        placeholders = [call for call in self.by_name.values() if call.op == "placeholder"]
        self._names = dict(zip((p.name for p in placeholders), inputs, strict=True))
        for place, call in enumerate(statements):
            made = self.parts_of(call) or [call]
            self._given += made
            self._where |= dict.fromkeys((one.name for one in (call, *made)), place)
        words = {call.owner: free_name(call.owner, inputs) for call in self._given}
        words["input"] = free_name("tokens", inputs)
        taken = {*inputs, *words.values()}
        for call in self._given:
            self._names[call.name] = self._name(call, words, taken, len(statements))
        return self._names

    def _name(self, call: Call, words: Mapping[str, str], taken: set[str], count: int) -> str:
        if call.op == "output" or call.target is of_size:
            return "x"
        here = self._where[call.name]
        own = [one for one in self._given if one.owner == call.owner]
        later = [self._where[one.name] for one in own if self._where[one.name] > here]
        alone = [one for one in own if self._where[one.name] == here][-1] is call
        if alone and self._last_use(call.name) <= min(later, default=count):
            return words[call.owner]
        source = self._source_in_other_form(call)
        if source is not None and self._is_over(source, here):
            return self._names[source]
        return free_name(call.name.rstrip("_"), taken)

    def _source_in_other_form(self, call: Call) -> str | None:
        """Return the named value that a value is a view of."""
        while call.op == "call_method" and call.target in _VIEWS:
            name = next(refs(call.args))
            if not self.stands_inside(self.by_name[name]):
                return name if name in self._names else None
            call = self.by_name[name]
        return None

    def _is_over(self, name: str, here: int) -> bool:
        """Return whether nothing reads a value after a statement, so that its name is free."""
        if self.by_name[name].op == "placeholder" or self._last_use(name) > here:
            return False
        later = (one for one in self._given if self._where[one.name] > here)
        return not any(free_name(one.owner, ()) == self._names[name] for one in later)

    def _last_use(self, name: str) -> int:
        """Return the last statement that reads a value, or one written inside it."""
        found = 0
        for user in self.users[name]:
            last = self._where.get(user.name)
            found = max(found, self._last_use(user.name) if last is None else last)
        return found

"""Strings that match a regular expression, for schemas with patterns and for grammars."""

from __future__ import annotations

import random
import re
import string

_WORD = string.ascii_letters + string.digits + "_"
_CLASSES = {"d": string.digits, "w": _WORD, "s": " ", "t": "\t", "n": "\n", "r": "\r"}
_ANY = _WORD + " .-"
_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}")
_MORE = 3
"""How often ``*`` and ``+`` repeat at most, beyond their least."""


def matching(pattern: str, rng: random.Random) -> str:
    """A string that matches all of ``pattern``: literals, classes, groups, alternatives,
    repetitions and anchors. Raises ValueError for more than that.
    """
    reader = _Reader(pattern, rng)
    made = reader.alternatives()
    if reader.at < len(pattern) or re.search(pattern, made) is None:
        raise ValueError(f"the toy model cannot follow the pattern {pattern!r}")
    return made


class _Reader:
    """Reads the pattern from left to right and makes up what it stands for on the way."""

    def __init__(self, pattern: str, rng: random.Random) -> None:
        self.pattern = pattern
        self.rng = rng
        self.at = 0

    def alternatives(self) -> str:
        """Up to a closing bracket or the end."""
        found = [self._sequence()]
        while self._take("|"):
            found.append(self._sequence())
        return self.rng.choice(found)

    def _sequence(self) -> str:
        made = ""
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            begin = self.at
            first = self._item()
            end = self.at
            times = self._times()
            made += first if times else ""
            for _ in range(times - 1):
                # Every repetition is read anew, for a choice of its own.
                after, self.at = self.at, begin
                made += self._item()
                assert self.at == end  # noqa: S101  # the same text reads the same way
                self.at = after
        return made

    def _item(self) -> str:
        character = self.pattern[self.at]
        self.at += 1
        if character == "(":
            if self._take("?") and not self._take(":"):
                raise ValueError("the toy model knows no groups with ? except (?:")
            made = self.alternatives()
            if not self._take(")"):
                raise ValueError("a bracket is not closed")
            return made
        if character == "[":
            return self.rng.choice(self._class())
        if character == "\\":
            return self.rng.choice(self._escape())
        if character == ".":
            return self.rng.choice(_ANY)
        return "" if character in "^$" else character

    def _escape(self) -> str:
        character = self.pattern[self.at]
        self.at += 1
        if character.isalnum() and character not in _CLASSES:
            raise ValueError(f"the toy model does not know \\{character}")
        return _CLASSES.get(character, character)

    def _class(self) -> str:
        """All characters of a class in square brackets, in the order of their codes."""
        inverted = self._take("^")
        members: set[str] = set()
        while not self._take("]"):
            character = self.pattern[self.at]
            self.at += 1
            if character == "\\":
                members |= set(self._escape())
            elif self.pattern[self.at] == "-" and self.pattern[self.at + 1] != "]":
                last = self.pattern[self.at + 1]
                members |= {chr(code) for code in range(ord(character), ord(last) + 1)}
                self.at += 2
            else:
                members.add(character)
        return "".join(sorted(set(_ANY) - members if inverted else members))

    def _times(self) -> int:
        if self._take("?"):
            return self.rng.randint(0, 1)
        if self._take("*"):
            return self.rng.randint(0, _MORE)
        if self._take("+"):
            return self.rng.randint(1, 1 + _MORE)
        if (found := _REPEAT.match(self.pattern, self.at)) is None:
            return 1
        self.at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3] or least + _MORE)
        return self.rng.randint(least, most)

    def _take(self, character: str) -> bool:
        if self.pattern.startswith(character, self.at):
            self.at += 1
            return True
        return False

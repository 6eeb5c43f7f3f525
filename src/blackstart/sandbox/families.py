"""Images of many files that stem from one are a family: in each it is known what is still as in the first.

So an image that is dropped can be mended into the next one, and a listing need only tell what differs. The first of a
family is never started on; once it changes, nobody joins its family any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from blackstart.sandbox.marks import Marks, differing, settle, take
from blackstart.sandbox.mending import disown

# From so many entries on it is cheaper to look at each than to copy it; dropped images are kept, at most so many.
MANY_ENTRIES, SPARES_MAX = 2_000, 3
COPIES = "copy"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass
class Kin:
    """family: the number of its first image; marks: what is still as in that one, None of the first itself."""

    family: int
    marks: Marks | None

    def differing(self, top: int) -> set[str]:
        """Paths below the image at this descriptor that are not as in the first of the family."""
        if self.marks is None:
            return set()
        inner = os.open(COPIES, _DIRECTORY, dir_fd=top)
        try:
            return differing(inner, COPIES, self.marks)
        finally:
            os.close(inner)

    def of_copy(self, top: int, theirs: set[str]) -> Kin:
        """The kin of a fresh copy, at this descriptor, of the image whose kin this is; theirs: what differs in that."""
        marks: Marks = {}
        inner = os.open(COPIES, _DIRECTORY, dir_fd=top)
        try:
            take(inner, COPIES, marks)
        finally:
            os.close(inner)
        if self.marks is not None:
            disown(theirs, self.marks, marks)
        settle()
        return Kin(self.family, marks)


@dataclass
class Families:
    """Who is kin to whom, and the dropped images that may be mended. dismantle: ends an image by its number; many: from
    so many entries on an image founds a family, 0 for never."""

    dismantle: Callable[[int], None]
    many: int = MANY_ENTRIES
    kin: dict[str, Kin] = field(default_factory=dict)
    _spares: list[tuple[int, Kin]] = field(default_factory=list)

    def found(self, name: str, number: int, files: int) -> None:
        """This new image, of so many files, may be the first of a family."""
        if self.many and files >= self.many:
            self.kin[name] = Kin(number, None)
            settle()

    def first_of(self, family: int) -> str:
        """The name of its first image, empty if that has changed since or is gone."""
        return next((name for name, kin in self.kin.items() if kin.marks is None and kin.family == family), "")

    def touched(self, name: str) -> None:
        """This image is about to change."""
        if (kin := self.kin.get(name)) is not None and kin.marks is None:
            self.leave(name)

    def leave(self, name: str) -> Kin | None:
        """Forget an image; without the first nothing of the family is mended any more."""
        kin = self.kin.pop(name, None)
        if kin is not None and kin.marks is None:
            for spare in [spare for spare in self._spares if spare[1].family == kin.family]:
                self._spares.remove(spare)
                self.dismantle(spare[0])
        return kin

    def keep(self, number: int, kin: Kin | None) -> bool:
        """Whether the image that was dropped is kept, to be mended into another."""
        if kin is None or kin.marks is None or not self.first_of(kin.family):
            return False
        self._spares.append((number, kin))
        if len(self._spares) > SPARES_MAX:
            self.dismantle(self._spares.pop(0)[0])
        return True

    def spare(self, kin: Kin) -> tuple[int, Kin] | None:
        """A dropped image of this family, which is then the caller's."""
        found = next((spare for spare in reversed(self._spares) if spare[1].family == kin.family), None)
        if found is not None:
            self._spares.remove(found)
        return found

"""A history seen through the calibration: masked paths and contents, and the clean runs that it is compared with.

Runs of the phases `restart`, `restart again` … are restarts without a fault; one of the phase `recovery` is a restart
into which a fault fell; one of the phase `before` is no start: its image is what the first start found after damage to
a file. A reading named `check` holds exit status and output of `--check` as `STATUS\nTEXT`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from blackstart.core.calibration import Calibration, CleanRun, Mask
from blackstart.core.history import EXITED, KILLED, STOPPED, History, Run
from blackstart.core.masking import Masker, together
from blackstart.core.reading import FileState, Image

JUDGED_ROLES = ("state", "output")
DAMAGE_KINDS = ("file", "db")
KILL_KINDS = ("kill", "kill-one")
# After these, contents may differ with the time: only how the target ends and starts is judged.
CLOCK_KINDS = ("time",)
# After these, contents may differ with what the peer was asked for, and how often: they must still read.
PEER_KINDS = ("peer", "dns")


# The masker of the last mask: a mask learnt once judges thousands of histories, and paths are masked once per masker.
_maskers: list[Masker] = []


def _masker(mask: Mask) -> Masker:
    if not _maskers or _maskers[0].mask is not mask:
        _maskers[:] = [Masker(mask)]
    return _maskers[0]


@dataclass(frozen=True)
class Answer:
    """What `--check` said: exit status (-1: it did not end by itself), masked output, and how it ended, in words."""

    code: int
    text: str
    how: str


class View:
    """What every oracle asks of a history."""

    def __init__(self, history: History, calibration: Calibration) -> None:
        self.history = history
        self.calibration = calibration
        self.masker = _masker(calibration.mask)
        chain = calibration.chain
        at = next((k for k, run in enumerate(chain) if run.start == history.start), len(chain))
        self.clean: CleanRun | None = chain[at] if at < len(chain) else None
        self.again: CleanRun | None = chain[at + 1] if at + 1 < len(chain) else None
        self.later: tuple[CleanRun, ...] = chain[at + 1 :]
        self.earlier: tuple[CleanRun, ...] = chain[:at]
        self.first = history.run("run")
        self.restarts = [run for run in history.runs if run.phase.startswith("restart")]
        # How many re-runs the state has seen, a broken recovery being one.
        self.reruns = max(1, sum(run.phase.startswith(("restart", "recovery")) for run in history.runs))
        self._images: dict[str, Image] = {}

    @property
    def was_killed(self) -> bool:
        """Whether the first start was ended by us and not by itself."""
        return self.first is not None and self.first.end.how == KILLED

    @property
    def is_left_to_a_check(self) -> bool:
        """Whether it recovered from a kill and ended as clean runs do, and no check tells what else must be right."""
        calibration, kind = self.calibration, self.history.kind
        if calibration.has_check or calibration.refuses_rerun or kind not in KILL_KINDS or self.clean is None:
            return False
        return bool(self.restarts) and self.ends_as_clean(self.restarts[-1])

    def judged(self, roles: tuple[str, ...] = JUDGED_ROLES) -> Iterator[str]:
        """Masked paths with these roles that can be judged at all: not hopeless, and one file each."""
        for path, role in sorted(self.calibration.roles.items()):
            if role in roles and path not in self.calibration.mask.hopeless and not self.is_shared(path):
                yield path

    def shared(self) -> Iterator[str]:
        """Masked paths of those roles that several files have, all of which can be compared."""
        hopeless = {together(path) for path in self.calibration.mask.hopeless}
        for path, role in sorted(self.calibration.roles.items()):
            if role in JUDGED_ROLES and path not in hopeless and self.is_shared(path):
                yield path

    def is_shared(self, path: str) -> bool:
        """Whether several files had this masked path: which of them is which cannot be told."""
        if "*" not in path:
            return False
        clean = [run.files for run in self.calibration.chain]
        seen = [self.image(run) for run in self.history.runs]
        return any(f"{path} (2)" in files for files in (*clean, *seen))

    def image(self, run: Run) -> Image:
        """The run's image, masked, as far as it has roles."""
        if run.phase not in self._images:
            self._images[run.phase] = self.masker.image(run.image, self.calibration.roles)
        return self._images[run.phase]

    def state(self, run: Run, path: str) -> FileState | None:
        """What stood at a masked path after that run."""
        return self.image(run).get(path)

    def text(self, run: Run, stream: str) -> str:
        """What the run wrote, masked."""
        return self.masker.text(stream, run.text(stream))

    def ends_as_clean(self, run: Run) -> bool:
        """Whether a re-run ended as clean runs of the chain do."""
        if self.calibration.is_service:
            return run.end.how == STOPPED
        return run.end.how == EXITED and run.end.code in {clean.code for clean in self.calibration.chain}

    def check(self, run: Run) -> Answer | None:
        """The answer of `--check` on a copy of the state after that run."""
        return next((self._answer(one.value, one.error) for one in run.readings if one.name == "check"), None)

    def check_of(self, clean: CleanRun | None) -> Answer | None:
        """The answer of `--check` after a clean run."""
        if clean is None or not self.calibration.has_check:
            return None
        return self._answer(clean.check, "")

    def check_steps(self) -> list[tuple[int, Answer]]:
        """(output events that had got out, what `--check` answers then) while a clean run is under way, in order."""
        return [(events, self._answer(value, "")) for events, value in (self.clean.check_steps if self.clean else ())]

    def _answer(self, value: str, error: str) -> Answer:
        first, newline, text = value.partition("\n")
        code = int(first) if newline and first.lstrip("-").isdecimal() else 0
        masked = self.masker.text("check", (text if newline else value).encode("utf-8", "surrogateescape"))
        return Answer(code=-1 if error else code, text=masked, how=error or f"exit status {code}")

    def answer_as_it_is(self, value: str, error: str = "") -> Answer:
        """An answer of `--check` whose ids are to be compared, so that nothing in it is masked."""
        first, _, text = value.partition("\n")
        code = int(first) if first.lstrip("-").isdecimal() else 0
        return Answer(code=-1 if error else code, text=text, how=error or f"exit status {code}")

    def culprits(self) -> frozenset[str] | None:
        """Masked paths whose reset made a failing restart work; None if no reset did."""
        helped = [reset for reset in self.history.resets if reset.helped]
        if not helped:
            return None
        return frozenset(self.masker(path) for reset in helped for path in (*reset.removed, *reset.put_back))

    def removed(self) -> frozenset[str]:
        """Masked paths whose mere removal made a failing restart work."""
        helped = [reset for reset in self.history.resets if reset.helped and not reset.put_back]
        return frozenset(self.masker(path) for reset in helped for path in reset.removed)

    def damaged(self) -> frozenset[str]:
        """Masked paths that the fault itself damaged, of kinds `file` and `db`."""
        if self.history.kind not in DAMAGE_KINDS:
            return frozenset()
        named = set()
        for injected in self.history.injected:
            if injected.operation is not None and injected.operation.path:
                named.add(injected.operation.masked or self.masker(injected.operation.path))
            named |= {path for path in self.calibration.roles if _names(injected.fault, path)}
            named |= {self.masker(word) for word in injected.fault.split() if word.startswith("/")}
        return frozenset(named)


def _names(fault: str, path: str) -> bool:
    return fault == path or fault.startswith((f"{path} ", f"{path}:")) or path in fault.split()

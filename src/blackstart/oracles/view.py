"""A history seen through the calibration: masked paths and contents, and the clean runs that it is compared with.

Readings named `check` hold the answer of `--check`: value is its output, error is not empty when it failed. A run of
the phase `before` may hold the image that the first start found (after damage to a file); it is not a start.
"""

from __future__ import annotations

from collections.abc import Iterator

from blackstart.core.calibration import Calibration, CleanRun
from blackstart.core.history import EXITED, KILLED, History, Run
from blackstart.core.masking import Masker
from blackstart.core.reading import FileState, Image, Reading

JUDGED_ROLES = ("state", "output")
DAMAGE_KINDS = ("file", "db")


class View:
    """What every oracle asks of a history."""

    def __init__(self, history: History, calibration: Calibration) -> None:
        self.history = history
        self.calibration = calibration
        self.masker = Masker(calibration.mask)
        chain = calibration.chain
        at = next((k for k, run in enumerate(chain) if run.start == history.start), len(chain))
        self.clean: CleanRun | None = chain[at] if at < len(chain) else None
        self.again: CleanRun | None = chain[at + 1] if at + 1 < len(chain) else None
        self.later: tuple[CleanRun, ...] = chain[at + 1 :]
        self.earlier: tuple[CleanRun, ...] = chain[:at]
        self.first = history.run("run")
        self.restarts = [run for run in (history.run("restart"), history.run("restart-again")) if run is not None]
        self._images: dict[str, Image] = {}

    @property
    def was_killed(self) -> bool:
        """Whether the first start was ended by us and not by itself."""
        return self.first is not None and self.first.end.how == KILLED

    def judged(self, roles: tuple[str, ...] = JUDGED_ROLES) -> Iterator[str]:
        """Masked paths with these roles that can be judged at all."""
        hopeless = self.calibration.mask.hopeless
        return (path for path, role in sorted(self.calibration.roles.items()) if role in roles and path not in hopeless)

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
        """Whether a re-run ended as clean re-runs from the old or the new state do."""
        codes = {clean.code for clean in (self.clean, *self.later[: len(self.restarts)]) if clean is not None}
        return run.end.how == EXITED and run.end.code in codes

    def check(self, run: Run) -> Reading | None:
        """The answer of `--check` on a copy of the state after that run."""
        return next((reading for reading in run.readings if reading.name == "check"), None)

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
    return path in fault.split() or fault.endswith((f" {path}", f":{path}", f"({path})"))

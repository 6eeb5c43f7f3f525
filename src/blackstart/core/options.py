"""What the operator asked of a run, as one value: the command line and `blackstart.toml` end here.

Paths stay as they were given and are meant relative to `cwd`, so that the same options work in another clone. Text may
hold any bytes, decoded with `surrogateescape`.
"""

from __future__ import annotations

import msgspec

KINDS = (
    "errno", "kill", "signal", "file", "db", "power", "disk", "limit", "kill-one", "time", "link", "peer", "dns",
    "clients",
)  # fmt: skip
ISOLATIONS = ("", "namespaces", "landlock")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of `run`, `plan` and `replay`.

    command: the argv of the target; cwd: where it starts, absolute; state: declared state paths (none: found by the
    scouting run); check: a shell command line that asks the target's state, "" for none; stdin: path of the file it
    reads, "" for an empty input; env: changes to the environment; allow: doors opened by name; budget_s: seconds, or
    trials: how many (0: the budget decides); jobs: trials at once (0: as many as there are processors);
    only: kinds (none: all); seed: of every draw; json: where the JSON report goes, "" for nowhere; isolation: ""
    lets the machine decide; ready: how one sees that a service is ready, "" for a job (see targets.readiness);
    workload: a shell command line that uses the service; companions: programs that it needs, started first;
    models: of file systems, for power cuts (none: those in common use, and posix for advice);
    baseline: path of the file of known defects, "" for none; scenarios: files with more of them.
    """

    command: tuple[str, ...]
    cwd: str
    state: tuple[str, ...] = ()
    check: str = ""
    stdin: str = ""
    env: dict[str, str] = {}
    allow: tuple[str, ...] = ()
    budget_s: float = 120.0
    trials: int = 0
    jobs: int = 0
    only: tuple[str, ...] = ()
    seed: int = 0
    json: str = ""
    isolation: str = ""
    ready: str = ""
    workload: str = ""
    companions: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    baseline: str = ""
    scenarios: tuple[str, ...] = ()

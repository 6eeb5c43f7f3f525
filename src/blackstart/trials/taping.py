"""One start of the target with every byte of what it changes recorded, so that power cuts within it can be built."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from blackstart.core.history import Run
from blackstart.core.trace import FORKS, LOOKING
from blackstart.gate import DEFAULT, Recorder, Tamper
from blackstart.power import Failing, Recording, Spill, StartEntry, Tape, look, scan
from blackstart.sandbox import Sandbox, Zygote
from blackstart.targets import Conducted, Duty, Patience
from blackstart.trials.bench import Bench

OBSERVED = DEFAULT | LOOKING | {"exit_group", "kill", *FORKS}
DATA_MAX_BYTES = 1 << 30
READ_MAX_BYTES = 512 << 20


def tape_start(
    bench: Bench,
    sandbox: Sandbox,
    image: str,
    start: str,
    roots: Iterable[str],
    *,
    phase: str,
    patience: Patience,
    tampers: Sequence[Tamper] = (),
    failing: Failing | None = None,
    works: bool = True,
) -> tuple[Run, Conducted, Recording]:
    """Start the target on `image`, a copy of the image `start`, and record what it changes below `roots`.

    The bytes of the start state are read from `start` whenever they are needed, so it must stay as it is. works:
    whether the workload of a service runs; what counts as said is then what that one says.
    """
    zygote = bench.zygote
    hears = bench.service is not None and bench.service.workload is not None
    places = {root: place for root in roots if (place := zygote.path(start, root)) is not None}
    layered = frozenset(root for root in places if zygote.layout.is_layered(root))
    entries = [*scan(places), *_beneath(bench, {root: places[root] for root in layered})]
    read_now, look_now = _readers(zygote, image)
    tape = Tape(entries, Spill(), read_now=read_now, look_now=look_now, failing=failing, hears=hears)
    recorder = Recorder(mask=bench.masker, sites=True, data=True, offsets=True, data_max=DATA_MAX_BYTES, limit=0)
    run, conducted = bench.start(
        sandbox,
        image,
        phase,
        calls=OBSERVED,
        tampers=tampers,
        recorder=recorder,
        patience=patience,
        on_operation=tape.before,
        duty=Duty(works=works, asks=False, heard=tape.heard if hears else None),
    )
    recording = tape.finish()
    recording.layered = layered
    recording.operations = [
        msgspec.structs.replace(o, path2=bench.masker(o.path2)) if o.path2 else o for o in recording.operations
    ]
    return run, conducted, recording


def _beneath(bench: Bench, layered: Mapping[str, str]) -> Iterator[StartEntry]:
    """What is the machine's own in these directories (target path -> its upper layer in the start state) and was
    changed in a clean run: it shows through the layer as long as nothing stands over it there.
    """
    traces = (operation for clean in bench.calibration.chain for operation in clean.trace if operation.changes)
    for path in sorted({path for operation in traces for path in (operation.path, operation.path2)}):
        upper = layered.get(os.path.dirname(path))
        if upper is not None and not os.path.lexists(os.path.join(upper, os.path.basename(path))):
            with suppress(OSError):
                if (entry := look(path, path)) is not None:
                    yield entry


def _readers(
    zygote: Zygote, image: str
) -> tuple[Callable[[str], bytes | None], Callable[[str], os.stat_result | None]]:
    """(what stands at a path of the image now, its mode and owner)"""

    def opened(path: str, use: Callable[[int], Any]) -> Any:
        try:
            descriptor = zygote.open_in(image, path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return use(descriptor)
        finally:
            os.close(descriptor)

    return lambda path: opened(path, _read), lambda path: opened(path, os.fstat)


def _read(descriptor: int) -> bytes | None:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        try:
            return file.read(READ_MAX_BYTES)
        except IsADirectoryError:
            return None


def make_read(zygote: Zygote, image: str) -> Callable[[str, bytes], None]:
    """Lets a file of the image read as these bytes; its inode stays, since the target has it open."""

    def change(path: str, content: bytes) -> None:
        descriptor = zygote.open_in(image, path, os.O_WRONLY)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.truncate()

    return change

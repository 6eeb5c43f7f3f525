"""Faults on a trial's own disk keep the promises of `check_fault`; the others are in tests/unit/testing."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blackstart.core.errors import SandboxLimit
from blackstart.faults import AnyFault
from blackstart.faults.db import BREAKS, PENDING_BYTE, Break
from blackstart.faults.disk import Full
from blackstart.faults.file import DAMAGES, Damage
from blackstart.faults.point import Point
from blackstart.faults.scene import Scene
from blackstart.testing import check_fault

from .stage import Stage, staged

pytestmark = pytest.mark.live

PATH = "$CWD/notes.db"
POINT = Point(call="write", path=PATH, nth=1)
FAULTS: list[AnyFault] = [
    *(Damage(path=PATH, damage=damage) for damage in DAMAGES),
    *(Break(path=PATH, what=what) for what in BREAKS),
    Full(point=POINT),
    Full(point=POINT, freed=True),
]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = tmp_path / "made.db"
    with closing(sqlite3.connect(made)) as connection, connection:
        connection.execute("CREATE TABLE notes (text)")
        connection.executemany("INSERT INTO notes VALUES (?)", [("note" * 50,)] * 100)
    with staged(tmp_path, files={"notes.db": made.read_bytes()}) as one:
        yield one


def met(stage: Stage, scene: Scene) -> object:
    """What a program that starts now would meet."""
    orders = [(order.match, str(order.rule)) for order in scene.tampers], list(scene.drop_capabilities)
    try:
        descriptor = stage.zygote.open_in(scene.image, str(stage.cwd / "notes.db"), os.O_RDWR)
    except (OSError, SandboxLimit) as error:
        return str(error), orders
    with open(descriptor, "r+b") as file:
        ask = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, PENDING_BYTE, 512, 0)
        kind = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_OFD_GETLK, ask))[0]
        return file.read(), kind == fcntl.F_UNLCK, os.fstat(file.fileno()).st_mode, orders


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_it_is_there_and_gone_however_it_ends(stage: Stage, fault: AnyFault) -> None:
    with stage.bench.image_from("S0") as image:
        scene = Scene(stage.zygote, image, "S0", lambda masked: str(stage.cwd / masked.removeprefix("$CWD/")))
        check_fault(lambda: fault, lambda: met(stage, scene), target=scene)

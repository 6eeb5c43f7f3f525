"""A hydroponics box on Modbus TCP: a tank with probes and pumps, for the dosing controller to look after.

    python examples/dosing/box.py --port 5020

Input registers 0, 1, 2: EC in 0.01 mS/cm, pH in 0.01, level in %. Coils 0, 1, 2: nutrient pump, acid pump, water valve.
The tank is a model: while a relay is on, its pump changes the tank at a fixed rate; plants raise the pH a little.
"""

import argparse
import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

RELAYS = ("nutrient", "acid", "water")
READ_COILS, READ_INPUT_REGISTERS, WRITE_COIL = 1, 4, 5


@dataclass
class Tank:
    """What is in the tank: ec in mS/cm, ph, level in %."""

    ec: float = 1.2
    ph: float = 6.0
    level: float = 80.0

    def pass_time(self, seconds: float, relays: list[bool]) -> None:
        """The pumps that are on work for so many seconds, and the plants drink."""
        nutrient, acid, water = relays
        self.ec += seconds * (0.5 * nutrient - 0.2 * water)
        self.ph += seconds * (0.0001 - 0.3 * acid)
        self.level += seconds * (2.0 * water)
        self.ec, self.ph, self.level = max(0.0, self.ec), min(14.0, max(0.0, self.ph)), min(100.0, self.level)

    def registers(self) -> list[int]:
        """What the probes say."""
        return [round(self.ec * 100), round(self.ph * 100), round(self.level)]


@dataclass
class Box:
    """The box as its Modbus server sees it. `commands` are the relay commands in the order in which they came."""

    tank: Tank = field(default_factory=Tank)
    relays: list[bool] = field(default_factory=lambda: [False] * len(RELAYS))
    commands: list[tuple[str, bool]] = field(default_factory=list)
    # What the probes say in place of the truth: a transmitter just switched on says 0, a broken one 0xFFFF.
    probes: list[int] | None = None
    # Function codes that the device answers with an exception: a relay board whose feedback is broken.
    broken: set[int] = field(default_factory=set)
    reads: int = 0
    now: Callable[[], float] = time.monotonic
    _since: float | None = None

    async def act(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: list | None
    ) -> ExcCodes | None:
        """Called by the server before each answer; brings the registers up to date and takes commands."""
        self.let_time_pass()
        if function in self.broken:
            return ExcCodes.DEVICE_FAILURE
        if function == READ_INPUT_REGISTERS:
            self.reads += 1
            registers[0:3] = self.probes or self.tank.registers()
        elif function == WRITE_COIL and values is not None and address < len(RELAYS):
            self.relays[address] = bool(values[0])
            self.commands.append((RELAYS[address], bool(values[0])))
        return None

    def let_time_pass(self) -> None:
        """Bring the tank to the present."""
        now = self.now()
        if self._since is not None:
            self.tank.pass_time(now - self._since, self.relays)
        self._since = now


class BoxServer:
    """A real Modbus TCP server for a box, in a thread of its own. `host` and `port` are where it listens."""

    def __init__(self, box: Box, port: int = 0) -> None:
        self.box, self.host, self.port = box, "127.0.0.1", port
        self._loop = asyncio.new_event_loop()
        self._ready: Future[int] = Future()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "BoxServer":
        self._thread.start()
        self.port = self._ready.result(timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        blank = SimData(0, values=[False] * 16, datatype=DataType.BITS)
        inputs = SimData(0, values=[0] * 16, datatype=DataType.REGISTERS)
        outputs = SimData(0, values=[0] * 16, datatype=DataType.REGISTERS)
        device = SimDevice(0, simdata=([blank], [blank], [outputs], [inputs]), action=self.box.act)
        try:
            server = ModbusTcpServer(device, address=(self.host, self.port))
            await server.serve_forever(background=True)
            self._ready.set_result(server.transport.sockets[0].getsockname()[1])
        except Exception as error:
            self._ready.set_exception(error)
            return
        await self._stopping.wait()
        await server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description="A hydroponics box on Modbus TCP.")
    parser.add_argument("--port", type=int, default=5020)
    with BoxServer(Box(), parser.parse_args().port) as server:
        print(f"the box listens on {server.host}:{server.port}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()

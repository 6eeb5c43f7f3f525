"""The same dosing controller, for a box that stands alone on a memory card and a long cable.

    python examples/dosing/hardened.py DIRECTORY

What it has learned: a file is replaced, never written over; what cannot be read is said and begun anew; a job store
that cannot be used is set aside, or done without; a reading that cannot be is none; and of a pump it knows only what
the relay board has answered. A cycle begins with all pumps off, confirmed, or it does not dose.
"""

import configparser
import json
import logging
import os
import re
import signal
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import date, datetime
from pathlib import Path
from threading import Event
from time import sleep

from apscheduler.jobstores.base import BaseJobStore
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

log = logging.getLogger("dosing")

RELAYS = {"nutrient": 0, "acid": 1, "water": 2}


@dataclass
class Settings:
    """What device.conf says."""

    sensors_host: str = "127.0.0.1"
    sensors_port: int = 5020
    relays_host: str = "127.0.0.1"
    relays_port: int = 5020
    timeout_s: float = 1.0
    target_ec: float = 1.8
    target_ph: float = 6.2
    interval_s: float = 60.0
    dose_s: float = 2.0
    max_runtime_s: float = 60.0
    lock_timeout_s: float = 5.0


# Where each setting stands in device.conf: section and name.
PLACES = {
    "sensors_host": ("sensors", "host"),
    "sensors_port": ("sensors", "port"),
    "relays_host": ("relays", "host"),
    "relays_port": ("relays", "port"),
    "timeout_s": ("sensors", "timeout_s"),
    "lock_timeout_s": ("database", "lock_timeout_s"),
}


def load_settings(path: Path) -> Settings:
    """All of them or none: a file that lacks one was cut, and what is left of it may be wrong as well."""
    config = configparser.ConfigParser()
    try:
        config.read_string(path.read_text())
        found = {}
        for one in fields(Settings):
            section, name = PLACES.get(one.name, ("dosing", one.name))
            found[one.name] = type(one.default)(config.get(section, name))
        return Settings(**found)
    except (OSError, ValueError, configparser.Error) as error:
        log.error("cannot use %s, taking the defaults: %s", path, error)
        return Settings()


def save_json(path: Path, data: dict) -> None:
    """The file is the old one or the new one at every moment, also after a power cut; a failure is said."""
    fresh = path.with_suffix(".new")
    try:
        with open(fresh, "w") as file:
            json.dump(data, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        log.error("cannot save %s: %s", path, error)


def load_json(path: Path) -> dict | None:
    """What the file says (// begins a comment), or None, with a warning, if it says nothing that can be used."""
    try:
        data = json.loads(re.sub(r"//.*", "", path.read_text()))
        if not isinstance(data, dict):
            raise ValueError("not an object")
        return data
    except (OSError, ValueError) as error:
        log.warning("cannot use %s: %s", path, error)
        return None


def load_sensor_data(path: Path) -> dict | None:
    """The last readings, or None if there are none."""
    return load_json(path)


def load_runtimes(path: Path) -> dict:
    """Seconds that each pump ran: {"2026-05-01": {"nutrient": 12.0}}; begins at zero where the file cannot be used."""
    history = load_json(path) or {}
    try:
        return {day: {pump: float(ran) for pump, ran in pumps.items()} for day, pumps in history.items()}
    except (AttributeError, TypeError, ValueError) as error:
        log.warning("cannot use %s, starting at zero: %s", path, error)
        return {}


def load_actions(path: Path) -> dict:
    """What the owner wants by hand: {"nutrient": "off"} keeps the automatic from using that pump."""
    return load_json(path) or {}


def job_store(path: Path, lock_timeout_s: float) -> BaseJobStore:
    """The jobs in SQLite; a damaged file is set aside for a new one, and where none can be written, memory must do."""
    try:
        try_to_write(path, lock_timeout_s)
    except sqlite3.OperationalError as error:
        log.warning("cannot write %s, jobs are kept in memory: %s", path, error)
        return MemoryJobStore()
    except sqlite3.DatabaseError as error:
        aside = path.with_suffix(".damaged")
        log.warning("%s is damaged (%s); it is kept as %s, a new one is begun", path, error, aside)
        os.replace(path, aside)
    return SQLAlchemyJobStore(url=f"sqlite:///{path}", engine_options={"connect_args": {"timeout": lock_timeout_s}})


def try_to_write(path: Path, lock_timeout_s: float) -> None:
    """Raises sqlite3.OperationalError for a database that cannot be written now, DatabaseError for a damaged one."""
    with closing(sqlite3.connect(path, timeout=lock_timeout_s, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise sqlite3.DatabaseError(answer)
        connection.execute("CREATE TABLE can_be_written (x)")
        connection.execute("ROLLBACK")


class Device:
    """One end of a Modbus TCP connection that may fail at any moment."""

    def __init__(self, name: str, host: str, port: int, timeout_s: float) -> None:
        self.name = name
        self.client = ModbusTcpClient(host, port=port, timeout=timeout_s, retries=1)

    def ask(self, what: str, *arguments: object, **more: object) -> ModbusPDU | None:
        """The answer, or None; after a failure the next question has a connection of its own."""
        try:
            answer = getattr(self.client, what)(*arguments, **more)
        except (ModbusException, OSError) as error:
            log.error("the %s do not answer: %s", self.name, error)
            self.client.close()
            return None
        if answer.isError():
            log.error("the %s answer with an error: %s", self.name, answer)
            return None
        return answer


class Sensors(Device):
    """EC, pH and level."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("sensors", settings.sensors_host, settings.sensors_port, settings.timeout_s)

    def read(self) -> dict | None:
        """A reading that can be true, or None."""
        answer = self.ask("read_input_registers", 0, count=3)
        if answer is None:
            return None
        if not any(answer.registers):
            log.warning("the sensors are not initialised: all of them say zero")
            return None
        ec, ph, level = answer.registers
        reading = {"ec": ec / 100, "ph": ph / 100, "level": level}
        if not (reading["ec"] <= 10 and 2 <= reading["ph"] <= 12 and level <= 100):
            log.warning("the sensors say what is impossible: %s", reading)
            return None
        return reading


class RelayBoard(Device):
    """The relays of the pumps. `state`: whether each is on, as the board said last; None: nobody knows."""

    def __init__(self, settings: Settings) -> None:
        super().__init__("relays", settings.relays_host, settings.relays_port, settings.timeout_s)
        self.state: dict[str, bool | None] = dict.fromkeys(RELAYS, None)

    def look(self) -> bool:
        """Read the relays back; whether that worked."""
        answer = self.ask("read_coils", 0, count=len(RELAYS))
        self.state = {name: None if answer is None else bool(answer.bits[coil]) for name, coil in RELAYS.items()}
        return answer is not None

    def switch(self, name: str, on: bool) -> bool:
        """Whether the board says that it has been done. Where it does not, the state is unknown."""
        answered = self.ask("write_coil", RELAYS[name], on) is not None
        self.look()
        if not answered:
            self.state[name] = None
        return self.state[name] is on

    def make_safe(self) -> bool:
        """Whether every pump is off, switched off now if need be."""
        self.look()
        for name, on in list(self.state.items()):
            if on is not False:
                self.switch(name, False)
        return all(on is False for on in self.state.values())


class Controller:
    """Reads the sensors, doses, and writes down what it did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = load_settings(directory / "device.conf")
        self.sensors = Sensors(self.settings)
        self.relays = RelayBoard(self.settings)
        # In memory, so that the overdose guard also counts what cannot be saved.
        self.runtimes = load_runtimes(directory / "runtime_tracker_history.json")
        self.scheduler = BackgroundScheduler()

    def start(self) -> None:
        """Begin to look after the box."""
        last = load_sensor_data(self.directory / "saved_sensor_data.json")
        if last:
            log.info("the last readings were %s", last)
        self.scheduler.add_jobstore(job_store(self.directory / "jobs.sqlite", self.settings.lock_timeout_s))
        self.scheduler.start()
        self.scheduler.add_job(
            run_cycle,
            "interval",
            args=[str(self.directory)],
            seconds=self.settings.interval_s,
            id="cycle",
            replace_existing=True,
            next_run_time=datetime.now().astimezone(),
            misfire_grace_time=None,  # a cycle that is late is done late, not left out
        )

    def stop(self) -> None:
        """Finish what is being done, and end with all pumps off."""
        if self.scheduler.running:
            self.scheduler.shutdown()
        self.relays.make_safe()
        self.sensors.client.close()
        self.relays.client.close()

    def cycle(self) -> None:
        """Look once, and dose if it is needed and everything is known that must be."""
        safe = self.relays.make_safe()
        reading = self.sensors.read()
        self.save(reading)
        if reading is None or not safe:
            log.warning("degraded: no dose while sensors or relays are not known")
            return
        actions = load_actions(self.directory / "action.json")
        if reading["ec"] < self.settings.target_ec:
            self.dose("nutrient", actions)
        if reading["ph"] > self.settings.target_ph:
            self.dose("acid", actions)
        self.save(reading)

    def save(self, reading: dict | None) -> None:
        now = datetime.now().isoformat(timespec="seconds")
        data = {"time": now, **(reading or {"ec": None, "ph": None, "level": None}), "relays": self.relays.state}
        save_json(self.directory / "saved_sensor_data.json", data)

    def dose(self, pump: str, actions: dict) -> None:
        """One dose, unless the owner forbids it or the pump has run enough today."""
        if actions.get(pump) == "off":
            log.info("the %s pump is switched off by hand", pump)
            return
        today = self.runtimes.setdefault(date.today().isoformat(), {})
        if today.get(pump, 0.0) + self.settings.dose_s > self.settings.max_runtime_s:
            log.warning("the %s pump has run enough today", pump)
            return
        # Counted first: a dose that a power cut hides from the guard would be given twice.
        self.count(pump, today.get(pump, 0.0) + self.settings.dose_s)
        on = self.relays.switch(pump, True)
        if on:
            sleep(self.settings.dose_s)
        off = self.relays.switch(pump, False)
        if on and off:
            log.info("dosed: %s pump for %s s", pump, self.settings.dose_s)
        else:
            log.error("nobody knows how long the %s pump ran; it does not run again today", pump)
            self.count(pump, self.settings.max_runtime_s)

    def count(self, pump: str, seconds: float) -> None:
        """The pump has run so long today."""
        self.runtimes[date.today().isoformat()][pump] = seconds
        save_json(self.directory / "runtime_tracker_history.json", self.runtimes)


controllers: dict[str, Controller] = {}


def run_cycle(directory: str) -> None:
    """The job: one cycle of the controller of this directory."""
    controllers[directory].cycle()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    controller = Controller(Path(sys.argv[1]))
    controllers[sys.argv[1]] = controller
    over = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    controller.start()
    over.wait()
    controller.stop()


if __name__ == "__main__":
    main()

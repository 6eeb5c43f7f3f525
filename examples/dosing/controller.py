"""A dosing controller for a hydroponics box: keeps EC and pH of a tank where the plants want them, unattended.

    python examples/dosing/controller.py DIRECTORY

DIRECTORY holds device.conf (settings), action.json (what the owner wants by hand; may have // comments), the job store
jobs.sqlite, and what the controller writes: saved_sensor_data.json and runtime_tracker_history.json (seconds that each
pump ran, by day: the overdose guard).
"""

import configparser
import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from threading import Event
from time import sleep

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException

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


def load_settings(path: Path) -> Settings:
    config = configparser.ConfigParser()
    if not config.read(path):
        log.error("cannot read %s, using the defaults", path)
    default = Settings()
    return Settings(
        sensors_host=config.get("sensors", "host", fallback=default.sensors_host),
        sensors_port=config.getint("sensors", "port", fallback=default.sensors_port),
        relays_host=config.get("relays", "host", fallback=default.relays_host),
        relays_port=config.getint("relays", "port", fallback=default.relays_port),
        timeout_s=config.getfloat("sensors", "timeout_s", fallback=default.timeout_s),
        target_ec=config.getfloat("dosing", "target_ec", fallback=default.target_ec),
        target_ph=config.getfloat("dosing", "target_ph", fallback=default.target_ph),
        interval_s=config.getfloat("dosing", "interval_s", fallback=default.interval_s),
        dose_s=config.getfloat("dosing", "dose_s", fallback=default.dose_s),
        max_runtime_s=config.getfloat("dosing", "max_runtime_s", fallback=default.max_runtime_s),
        lock_timeout_s=config.getfloat("database", "lock_timeout_s", fallback=default.lock_timeout_s),
    )


def save_json(path: Path, data: dict) -> None:
    with open(path, "w") as file:
        json.dump(data, file, indent=2)


def load_sensor_data(path: Path) -> dict | None:
    """The last readings, or None if there are none."""
    try:
        with open(path) as file:
            return json.load(file)
    except (FileNotFoundError, json.JSONDecodeError):
        log.warning("no saved sensor data in %s", path)
        return None


def load_runtimes(path: Path) -> dict:
    """Seconds that each pump ran: {"2026-05-01": {"nutrient": 12.0}}."""
    if not path.exists():
        log.warning("no runtime history in %s, starting at zero", path)
        return {}
    with open(path) as file:
        return json.load(file)


def load_actions(path: Path) -> dict:
    """What the owner wants by hand: {"nutrient": "off"} keeps the automatic from using that pump."""
    try:
        text = path.read_text()
        return json.loads(re.sub(r"//.*", "", text))
    except (OSError, ValueError) as error:
        log.warning("ignoring %s: %s", path, error)
        return {}


class Sensors:
    """EC, pH and level, over Modbus TCP."""

    def __init__(self, settings: Settings) -> None:
        self.client = ModbusTcpClient(
            settings.sensors_host, port=settings.sensors_port, timeout=settings.timeout_s, retries=1
        )

    def read(self) -> dict | None:
        try:
            answer = self.client.read_input_registers(0, count=3)
        except ModbusException as error:
            log.error("cannot read the sensors: %s", error)
            return None
        if answer.isError():
            log.error("the sensors answer with an error: %s", answer)
            return None
        ec, ph, level = answer.registers
        return {"ec": ec / 100, "ph": ph / 100, "level": level}


class RelayBoard:
    """The relays of the pumps, over Modbus TCP. `state`: which are on."""

    def __init__(self, settings: Settings) -> None:
        self.client = ModbusTcpClient(
            settings.relays_host, port=settings.relays_port, timeout=settings.timeout_s, retries=1
        )
        self.state = dict.fromkeys(RELAYS, False)

    def switch(self, name: str, on: bool) -> None:
        self.state[name] = on
        try:
            answer = self.client.write_coil(RELAYS[name], on)
            if answer.isError():
                log.error("the relay of the %s pump answers with an error: %s", name, answer)
        except ModbusException as error:
            log.error("cannot switch the %s pump: %s", name, error)


class Controller:
    """Reads the sensors, doses, and writes down what it did."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.settings = load_settings(directory / "device.conf")
        self.sensors = Sensors(self.settings)
        self.relays = RelayBoard(self.settings)
        self.scheduler = BackgroundScheduler()
        self.scheduler.add_jobstore(
            SQLAlchemyJobStore(
                url=f"sqlite:///{directory / 'jobs.sqlite'}",
                engine_options={"connect_args": {"timeout": self.settings.lock_timeout_s}},
            )
        )

    def start(self) -> None:
        """Begin to look after the box."""
        last = load_sensor_data(self.directory / "saved_sensor_data.json")
        if last:
            log.info("the last readings were %s", last)
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
        """Finish what is being done, and end."""
        if self.scheduler.running:
            self.scheduler.shutdown()
        self.sensors.client.close()
        self.relays.client.close()

    def cycle(self) -> None:
        """Look once, and dose if it is needed."""
        reading = self.sensors.read()
        if reading is None:
            return
        self.save(reading)
        actions = load_actions(self.directory / "action.json")
        if reading["ec"] < self.settings.target_ec:
            self.dose("nutrient", actions)
        if reading["ph"] > self.settings.target_ph:
            self.dose("acid", actions)
        self.save(reading)

    def save(self, reading: dict) -> None:
        now = datetime.now().isoformat(timespec="seconds")
        data = {"time": now, **reading, "relays": self.relays.state}
        save_json(self.directory / "saved_sensor_data.json", data)

    def dose(self, pump: str, actions: dict) -> None:
        """One dose, unless the owner forbids it or the pump has run enough today."""
        if actions.get(pump) == "off":
            log.info("the %s pump is switched off by hand", pump)
            return
        path = self.directory / "runtime_tracker_history.json"
        history = load_runtimes(path)
        today = history.setdefault(date.today().isoformat(), {})
        if today.get(pump, 0.0) + self.settings.dose_s > self.settings.max_runtime_s:
            log.warning("the %s pump has run enough today", pump)
            return
        self.relays.switch(pump, True)
        sleep(self.settings.dose_s)
        self.relays.switch(pump, False)
        today[pump] = today.get(pump, 0.0) + self.settings.dose_s
        save_json(path, history)
        log.info("dosed: %s pump for %s s", pump, self.settings.dose_s)


controllers: dict[str, Controller] = {}


def run_cycle(directory: str) -> None:
    """The job: one cycle of the controller of this directory."""
    controllers[directory].cycle()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    controller = Controller(Path(sys.argv[1]))
    controllers[sys.argv[1]] = controller
    controller.start()
    try:
        Event().wait()
    except KeyboardInterrupt:
        controller.stop()


if __name__ == "__main__":
    main()

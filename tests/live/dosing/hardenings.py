"""What the hardened version has learned, each piece by itself: the text of hardened.py, and the same without it.

A version with one of them taken away must fail exactly the tests named beside it. These run with the suite, and one of
the others, drawn for each, that must stay green; `make hardenings` runs all.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.live.dosing import table

PREFIX = "without_"
# Set by `make hardenings`.
ALL = "DOSING_ALL"


@dataclass(frozen=True)
class Hardening:
    """what: in words; text stands once in hardened.py; red: the tests that fail where `without` stands in its place."""

    what: str
    text: str
    without: str
    red: tuple[str, ...]


def each(test: str, *cases: str) -> tuple[str, ...]:
    """A test with parameters, by its cases."""
    return tuple(f"{test}[{case}]" for case in cases)


HARDENINGS: dict[str, Hardening] = {
    "settings_unreadable": Hardening(
        "settings that cannot be read give the defaults",
        "except (OSError, ValueError, configparser.Error) as error:",
        "except (ValueError, configparser.Error) as error:",
        each("test_resilience_settings_damaged", "unreadable", "missing"),
    ),
    "settings_no_value": Hardening(
        "a setting that is no number gives the defaults",
        "except (OSError, ValueError, configparser.Error) as error:",
        "except (OSError, configparser.Error) as error:",
        each("test_resilience_settings_damaged", "no_number", "garbage"),
    ),
    "settings_no_ini": Hardening(
        "settings that are no INI file give the defaults",
        "except (OSError, ValueError, configparser.Error) as error:",
        "except (OSError, ValueError) as error:",
        each("test_resilience_settings_damaged", "truncated", "truncated_after_a_line", "invalid", "empty"),
    ),
    "settings_all_or_none": Hardening(
        "settings of which one is missing are not used at all",
        "config.get(section, name)",
        "config.get(section, name, fallback=one.default)",
        each("test_resilience_settings_damaged", "truncated_after_a_line", "empty"),
    ),
    "save_replaces": Hardening(
        "a file is replaced, never written over",
        'fresh = path.with_suffix(".new")',
        "fresh = path",
        each("test_resilience_save_cut", "kill", "power"),
    ),
    "save_syncs_file": Hardening(
        "a file is synced before it replaces the old one",
        "            file.flush()\n            os.fsync(file.fileno())\n",
        "",
        ("test_resilience_save_cut[power]", "test_resilience_save_lasts"),
    ),
    "save_syncs_directory": Hardening(
        "the directory is synced when a file has been replaced",
        "            os.fsync(directory)\n",
        "            pass\n",
        ("test_resilience_save_lasts",),
    ),
    "save_goes_on": Hardening(
        "a file that cannot be saved is said, and the program goes on",
        '    except OSError as error:\n        log.error("cannot save %s: %s", path, error)\n',
        "    finally:\n        pass\n",
        (
            "test_resilience_directory_read_only",
            "test_resilience_directory_read_only_overdose",
            "test_resilience_database_read_only",
        ),
    ),
    "load_unreadable": Hardening(
        "state that cannot be read is said, and begun anew",
        "    except (OSError, ValueError) as error:\n        log.warning",
        "    except ValueError as error:\n        log.warning",
        (
            *each("test_resilience_sensor_state_loaded", "missing", "unreadable"),
            "test_resilience_tracker_damaged[missing]",
            "test_resilience_action_damaged[missing]",
        ),
    ),
    "load_damaged": Hardening(
        "state that is no JSON object is said, and begun anew",
        "    except (OSError, ValueError) as error:\n        log.warning",
        "    except OSError as error:\n        log.warning",
        (
            *each("test_resilience_sensor_state_loaded", "truncated", "garbage", "empty"),
            *each("test_resilience_tracker_damaged", "truncated", "garbage", "empty"),
            "test_resilience_tracker_of_another_shape[list]",
            *each("test_resilience_action_damaged", "truncated", "garbage", "empty"),
            "test_resilience_action_of_another_shape",
        ),
    ),
    "load_another_shape": Hardening(
        "a list in place of an object is refused",
        '        if not isinstance(data, dict):\n            raise ValueError("not an object")\n',
        "",
        ("test_resilience_action_of_another_shape", "test_resilience_tracker_of_another_shape[list]"),
    ),
    "runtimes_checked": Hardening(
        "a runtime that is no number is said, and totals begin at zero",
        "    except (AttributeError, TypeError, ValueError) as error:\n",
        "    except ZeroDivisionError as error:\n",
        each("test_resilience_tracker_of_another_shape", "no_object", "no_number"),
    ),
    "jobs_in_memory": Hardening(
        "jobs are kept in memory where the database cannot be written",
        '        log.warning("cannot write %s, jobs are kept in memory: %s", path, error)\n'
        "        return MemoryJobStore()\n",
        '        log.warning("cannot write %s: %s", path, error)\n',
        ("test_resilience_database_locked_for_good", "test_resilience_database_read_only"),
    ),
    "database_asked_to_write": Hardening(
        "whether the database can be written is tried, not assumed",
        '        connection.execute("CREATE TABLE can_be_written (x)")\n',
        "",
        ("test_resilience_database_read_only",),
    ),
    "database_waits": Hardening(
        "a database that is locked for a moment is waited for",
        "        try_to_write(path, lock_timeout_s)\n",
        "        try_to_write(path, 0)\n",
        ("test_resilience_database_locked_for_a_moment",),
    ),
    "database_checked": Hardening(
        "the database is checked as a whole",
        '        if answer != "ok":\n',
        "        if False:\n",
        ("test_resilience_database_truncated[end]",),
    ),
    "database_begun_anew": Hardening(
        "in place of a damaged database a new one is begun",
        "        os.replace(path, aside)\n",
        "        pass\n",
        (
            "test_resilience_database_header_lost",
            *each("test_resilience_database_truncated", "half", "end"),
            "test_resilience_database_garbage",
        ),
    ),
    "database_kept": Hardening(
        "a damaged database is kept for whoever wants to look at it",
        "        os.replace(path, aside)\n",
        "        os.remove(path)\n",
        (
            "test_resilience_database_header_lost",
            *each("test_resilience_database_truncated", "half", "end"),
            "test_resilience_database_garbage",
        ),
    ),
    "device_fails": Hardening(
        "an error of the socket is an answer that did not come",
        "except (ModbusException, OSError) as error:",
        "except ModbusException as error:",
        (*each("test_resilience_sensor_reset", "2", "3"), "test_resilience_sensor_intermittent"),
    ),
    "device_reconnects": Hardening(
        "after a failure the next question has a connection of its own",
        "            self.client.close()\n            return None\n",
        "            return None\n",
        each("test_resilience_sensor_reset", "2"),
    ),
    "reading_zero": Hardening(
        "readings of zero are none",
        "        if not any(answer.registers):\n",
        "        if False:\n",
        ("test_resilience_sensor_all_zeros",),
    ),
    "reading_impossible": Hardening(
        "readings that cannot be are none",
        '        if not (reading["ec"] <= 10 and 2 <= reading["ph"] <= 12 and level <= 100):\n',
        "        if False:\n",
        ("test_resilience_sensor_all_ones",),
    ),
    "reading_unavailable": Hardening(
        "that there is no reading is written down",
        "        self.save(reading)\n        if reading is None or not safe:\n",
        "        if reading is None or not safe:\n",
        (
            "test_resilience_sensor_silent",
            "test_resilience_relay_lost_is_unknown",
            "test_resilience_relay_not_read_back",
            "test_resilience_box_gone",
        ),
    ),
    "relay_answers": Hardening(
        "a relay whose command was not answered is in a state that nobody knows",
        "        if not answered:\n            self.state[name] = None\n",
        "",
        ("test_resilience_relay_command_refused",),
    ),
    "relay_read_back": Hardening(
        "a command is believed only when the relay has been read back",
        "        self.look()\n        if not answered:\n            self.state[name] = None\n",
        "        self.state[name] = on if answered else None\n",
        ("test_resilience_relay_not_read_back", "test_resilience_relay_not_read_back_after_the_dose"),
    ),
    "relay_made_safe": Hardening(
        "a cycle begins by switching off what is not known to be off",
        "                self.switch(name, False)\n",
        "                pass\n",
        (
            "test_resilience_relay_lost_while_the_pump_runs",
            "test_resilience_relay_lost_and_stopped",
        ),
    ),
    "relay_must_be_known": Hardening(
        "no dose while it is not known what the relays do",
        "        if reading is None or not safe:\n",
        "        if reading is None:\n",
        ("test_resilience_relay_not_read_back",),
    ),
    "end_is_safe": Hardening(
        "the program ends with all pumps off",
        "        self.relays.make_safe()\n        self.sensors",
        "        self.sensors",
        ("test_resilience_relay_lost_and_stopped",),
    ),
    "end_by_sigterm": Hardening(
        "SIGTERM ends it as Ctrl-C does",
        "(signal.SIGINT, signal.SIGTERM)",
        "(signal.SIGINT,)",
        ("test_resilience_relay_on_at_sigterm",),
    ),
    "guard_in_memory": Hardening(
        "the overdose guard also counts what cannot be saved",
        "        today = self.runtimes",
        '        self.runtimes = load_runtimes(self.directory / "runtime_tracker_history.json")\n'
        "        today = self.runtimes",
        ("test_resilience_directory_read_only_overdose",),
    ),
    "guard_counts_first": Hardening(
        "a dose is counted before it is given",
        "        self.count(pump, today.get(pump, 0.0) + self.settings.dose_s)\n"
        "        on = self.relays.switch(pump, True)\n"
        "        if on:\n            sleep(self.settings.dose_s)\n",
        "        on = self.relays.switch(pump, True)\n        if on:\n            sleep(self.settings.dose_s)\n"
        "        self.count(pump, today.get(pump, 0.0) + self.settings.dose_s)\n",
        ("test_resilience_database_rapid_restarts_overdose",),
    ),
    "guard_doubts": Hardening(
        "a pump of which nobody knows how long it ran does not run again today",
        "            self.count(pump, self.settings.max_runtime_s)\n",
        "",
        ("test_resilience_relay_lost_counts_as_an_overdose",),
    ),
}


def taken_away(name: str, directory: Path) -> ModuleType:
    """The hardened version without this one, as a module of its own with a file in this directory."""
    from examples.dosing import hardened

    one = HARDENINGS[name]
    text = Path(hardened.__file__).read_text(encoding="utf-8")
    assert text.count(one.text) == 1, f"{name}: its text stands {text.count(one.text)} times in hardened.py"
    path = directory / f"{PREFIX}{name}.py"
    path.write_text(text.replace(one.text, one.without), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # the job store finds the job by the name of its module
    spec.loader.exec_module(module)
    return module


def is_run_without(name: str, test: str) -> bool:
    """Whether this test runs without this hardening: it must turn red, or is the other one drawn for it, or all run."""
    red = {one.partition("[")[0] for one in HARDENINGS[name].red}
    others = sorted({one for tests in table.tests().values() for one in tests} - red)
    return ALL in os.environ or test in red or test == random.Random(name).choice(others)

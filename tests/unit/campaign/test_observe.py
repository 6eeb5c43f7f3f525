"""What is said when the clean run itself does not work: nothing can be compared with then."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blackstart.campaign.budget import Budget
from blackstart.campaign.observe import Observer, _Recorded
from blackstart.campaign.scout import must_work, telling
from blackstart.core.clock import ManualClock
from blackstart.core.errors import Undecided
from blackstart.core.history import DEADLINE, EXITED, SIGNALED, End, Output, Run, Wait
from blackstart.core.trace import Operation


def run(stderr: bytes = b"", **end: Any) -> Run:
    outputs = (Output(stream="stderr", data=stderr),) if stderr else ()
    return Run(phase="scouting", end=End(**end), outputs=outputs)


def connecting(*addresses: str) -> tuple[Operation, ...]:
    return tuple(Operation(index=k, call="connect", path=address) for k, address in enumerate(addresses))


def refused(one: Run, trace: tuple[Operation, ...] = ()) -> Undecided:
    with pytest.raises(Undecided) as caught:
        must_work(one, trace)
    assert caught.value.exit_status == 3
    assert caught.value.next_step
    return caught.value


def test_a_clean_run_that_works_says_nothing() -> None:
    must_work(run(how=EXITED), ())
    must_work(run(how=EXITED), connecting("socket:inet:1.2.3.4:80"))


def test_a_program_that_never_ends_is_asked_for_an_end() -> None:
    error = refused(run(how=DEADLINE, wait=Wait(state="blocked", call="accept"), elapsed_s=30.02))
    assert "did not end within 30 s (it waits in accept)" in error.what
    assert "--once" in error.next_step


def test_a_failing_clean_run_shows_its_last_words() -> None:
    error = refused(run(b"one\ntwo\nthree\nno such table\n", how=EXITED, code=4))
    assert "exit status 4" in error.what
    assert error.where == "two | three | no such table"


def test_a_status_that_is_meant_so_is_allowed_for_alone() -> None:
    assert "sh -c 'CMD; s=$?; [ $s = 4 ] || exit $s'" in refused(run(how=EXITED, code=4)).next_step
    assert "sh -c" not in refused(run(how=SIGNALED, signal=11)).next_step


@pytest.mark.parametrize(("number", "name"), [(11, "SIGSEGV"), (40, "signal 40")])
def test_a_clean_run_that_dies_of_a_signal_names_it(number: int, name: str) -> None:
    assert f"died of {name}" in refused(run(how=SIGNALED, signal=number)).what


def test_a_failing_clean_run_that_says_all_on_stdout_shows_that() -> None:
    said = (Output(stream="stdout", data=b"no such file\n"),)
    one = Run(phase="scouting", end=End(how=EXITED, code=12), outputs=said)
    assert refused(one).where == "no such file"


def test_a_signal_and_bytes_that_are_no_text() -> None:
    assert "SIGSEGV" in refused(run(b"\xff\xfe", how=SIGNALED, signal=11)).what


def test_a_needed_door_is_named(tmp_path: Path) -> None:
    (tmp_path / "db.sock").touch()
    there, gone = (f"socket:unix:{tmp_path}/{name}" for name in ("db.sock", "nscd.sock"))
    error = refused(run(how=EXITED, code=1), connecting(gone, there, "socket:inet:1.2.3.4:80"))
    assert "socket:inet:1.2.3.4:80" in error.what
    assert f"--allow socket:{tmp_path}/db.sock" in error.next_step
    assert "nscd" not in error.what, "nobody refused what is not there outside either"
    without = refused(run(how=EXITED, code=1), connecting(gone, "socket:inet6:[2001:db8::1]:80"))
    assert "--allow peer:[2001:db8::1]:80" in without.next_step


def test_what_is_not_there_outside_either_was_not_refused(tmp_path: Path) -> None:
    """Looking up a user's name asks for a socket that few machines have; the mistake was another."""
    said = b"tar: nosuch: Cannot stat: No such file or directory\n"
    error = refused(run(said, how=EXITED, code=2), connecting(f"socket:unix:{tmp_path}/nscd.sock"))
    assert error.what == "the clean run in the sandbox failed: exit status 2" and "Cannot stat" in error.where
    assert "make the command succeed by itself" in error.next_step
    assert f"where it cannot do without {tmp_path}/nscd.sock: --with 'SERVER'" in error.next_step


@pytest.mark.parametrize(("path", "is_meant"), [("/dev/null", True), ("pipe:", False), ("/memfd:stdin", False)])
def test_who_reads_an_empty_standard_input_is_told_to_give_one(path: str, is_meant: bool) -> None:
    read = Operation(index=0, call="read", fd=0, path=path)
    assert ("--stdin FILE" in refused(run(how=EXITED, code=2), (read,)).next_step) == is_meant


def test_a_needed_peer_is_to_be_started_beside_it() -> None:
    assert "--with" in refused(run(how=EXITED, code=1), connecting("socket:inet:1.2.3.4:80")).next_step


def test_abstract_sockets_are_no_doors() -> None:
    assert "refuses" not in refused(run(how=EXITED, code=1), connecting("socket:unix:@x")).what


class Scripted(Observer):
    """Clean runs that end as it is written, after the first one."""

    def __init__(self, *statuses: int, elapsed_s: float = 0.0) -> None:
        self.notes = []
        self.dropped: list[str] = []
        self.asked: list[tuple[str, int]] = []
        self.statuses = iter(statuses)
        self.bench: Any = SimpleNamespace(service=None)
        self.zygote: Any = SimpleNamespace(drop=self.dropped.append)
        clock = ManualClock()
        self.budget = Budget(60.0, clock)
        clock.sleep(elapsed_s)

    def _recorded(self, start: str, keep: str = "", *, boundaries: bool = False, other_pids: int = 0) -> Any:
        self.asked.append((start, other_pids))
        status = next(self.statuses)
        return SimpleNamespace(run=run(b"deliver: File exists\n" if status else b"", how=EXITED, code=status))

    def starts(self) -> int:
        first: Any = SimpleNamespace(run=run(how=EXITED))
        return len(self._chain(first))


def test_a_second_run_that_fails_is_tried_once_more_with_other_process_ids() -> None:
    """Two starts within a second have one process id there, and a name made of both is taken already."""
    observer = Scripted(75, 0, 0)
    assert observer.starts() == 3 and not observer.notes
    assert observer.asked == [("S1", 0), ("S1", 2), ("S2", 0)] and observer.dropped == ["S2"]


def test_what_refuses_a_second_run_twice_does_refuse_it_and_is_quoted() -> None:
    observer = Scripted(75, 75)
    assert observer.starts() == 1
    (note,) = observer.notes
    assert "refuses a second run" in note and note.endswith("; it said: deliver: File exists")


def test_where_time_is_short_a_second_run_is_not_tried_once_more() -> None:
    observer = Scripted(75, elapsed_s=50.0)
    assert observer.starts() == 1 and observer.asked == [("S1", 0)]


def test_a_script_without_a_first_line_is_told_what_it_lacks() -> None:
    """Its shell starts it by hand all the same, so "make it succeed by itself" would be no help."""
    error = refused(run(b"cannot be executed: Exec format error\n", how=EXITED, code=127))
    assert "#!/bin/sh" in error.next_step
    error = refused(run(b"make: ./tool: cannot be executed: Exec format error\n", how=EXITED, code=2))
    assert "#!/bin/sh" not in error.next_step, "its own program, not it"


def test_a_job_that_takes_long_is_said_to_run_still_once_and_in_time() -> None:
    clock, said = ManualClock(), list[str]()
    left_s = telling(lambda: 100.0 - clock.monotonic(), said.append, 30.0, clock)
    assert left_s() == 5 and not said, "who waits wakes up then"
    clock.sleep(5)
    assert left_s() == 95 and len(said) == 1
    clock.sleep(5)
    assert left_s() == 90 and said == ["it runs for 5 s now; one that has not ended after 30 s may be a service"]
    short = telling(lambda: 4.0, said.append, 2.8, clock)
    clock.sleep(10)
    assert short() == 4 and len(said) == 1, "it is given up before"


def test_a_mask_is_learnt_from_files_and_from_sockets_of_the_network() -> None:
    none: Any = SimpleNamespace()
    trace = connecting("/a", "socket:inet:127.0.0.1:43751", "socket:unix:/b", "pipe:")
    one = _Recorded(run(how=EXITED), trace, versions=none, began_s=0.0, zones_s=(0,), before={}, usage=none)
    assert one.seen().paths == {"/a", "socket:inet:127.0.0.1:43751"}

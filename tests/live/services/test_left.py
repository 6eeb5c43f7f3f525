"""What is left behind and adds up: files, processes, descriptors, threads, secrets; the good twin gives nothing.

covers: L-2, M-6, SS-5
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run

PROGRAMS = Path(__file__).parent / "programs"
CLIENT = f"{PYTHON} stream_client.py"

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "place"
    made.mkdir()
    for name in ("keys.py", "stream.py", "stream_client.py"):
        shutil.copy(PROGRAMS / name, made)
    return made


def kept(place: Path, mode: str, kind: str, trials: str) -> Ran:
    return run([PYTHON, "keys.py"], place, "--only", kind, "--trials", trials, env={"MODE": mode})


@pytest.mark.parametrize(
    ("mode", "kind", "said"),
    [
        ("stale", "errno", "each of 6 times it leaves one more file"),
        ("orphans", "errno", "processes of its own go on: sleep 1000"),
        ("open", "kill", "which only its owner may read"),
    ],
)
def test_what_a_job_leaves_behind(place: Path, mode: str, kind: str, said: str) -> None:
    ran = kept(place, mode, kind, "8")
    assert {f["consequence"] for f in ran.defects} == {"leaked"} and ran.status == 1, ran.said()
    assert said in str([f["evidence"] for f in ran.defects]), ran.said()


def test_what_only_a_kill_leaves_is_noted(place: Path) -> None:
    """Decision 0015: every program that writes a new file and renames it leaves one then."""
    ran = kept(place, "stale", "kill", "8")
    assert ran.status == 0 and not ran.defects, ran.said()
    noted = [found for found in ran.findings if found["consequence"] == "leaked"]
    assert [found["severity"] for found in noted] == ["low"], ran.said()
    assert "6 times, it leaves one more file $CWD/keys.json.*" in str(noted[0]["evidence"]), ran.said()


def test_a_job_that_tidies_up_when_it_starts_leaves_nothing(place: Path) -> None:
    ran = kept(place, "good", "kill,errno", "16")
    assert ran.status == 0 and not ran.defects and not ran.report["muted"], ran.said()
    assert "leaked" not in {found["consequence"] for found in ran.findings}, ran.said()


def streamed(place: Path, mode: str, trials: str) -> Ran:
    return run(
        [PYTHON, "stream.py"], place, "--ready", "tcp:8125", "--workload", f"{CLIENT} work", "--check",
        f"{CLIENT} check", "--only", "errno", "--trials", trials, env={"MODE": mode},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dead", "hung", "unclean"])
def test_what_an_error_does_to_the_rest_of_an_asyncio_servers_life(place: Path, mode: str) -> None:
    """The good one is below."""
    ran = streamed(place, mode, "2")
    assert {f["consequence"] for f in ran.defects} == {mode} and ran.status == 1, ran.said()


@pytest.mark.parametrize(("mode", "found"), [("good", set()), ("descriptors", {"leaked"}), ("threads", {"leaked"})])
def test_what_a_service_holds_more_of_after_each_failed_save(place: Path, mode: str, found: set[str]) -> None:
    ran = streamed(place, mode, "3")
    assert {f["consequence"] for f in ran.defects} == found and not ran.report["muted"], ran.said()
    assert ran.report["trials"]["kinds"][0]["passed"], ran.said()
    unmet = [one["what"] for one in ran.report["uncovered"]]
    assert "$CWD/stream.py:59 except ConnectionError" in unmet and not any(":48" in one for one in unmet), ran.said()
    if found:
        assert f"holds more: {mode}" in str(ran.defects[0]["evidence"]), ran.said()

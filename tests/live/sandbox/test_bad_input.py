"""States that are too many, too large or too strange, and machines that refuse: clear words, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import blackstart
from blackstart.core.errors import BlackstartError, SandboxLimit, SandboxUnavailable
from blackstart.sandbox import Layout, Zygote, choose, probe

from .conftest import World
from .people import person

pytestmark = pytest.mark.live
INNER = """
import os, sys
from blackstart.core.errors import BlackstartError
from blackstart.sandbox import Layout, Zygote, choose, probe
machine = probe()
isolation = choose(machine)
state = sys.argv[1]
null = os.open("/dev/null", os.O_RDWR)
with Zygote(Layout.of(cwd=state, home=state, copies=[state]), isolation=isolation) as zygote:
    zygote.capture("S0")
    with zygote.sandbox("S0") as sandbox:
        sandbox.start(["/bin/sh", "-c", "echo inner > made"], env={}, stdin=null, stdout=null, stderr=null)
        assert sandbox.event(200).status == 0
    assert zygote.read("S0", state + "/made") == b"inner\\n"
assert not os.path.exists(state + "/made")
print(isolation, machine.namespaces, machine.has("listener"))
"""


def test_ten_thousand_files_are_copied_whole(world: World) -> None:
    for index in range(10_000):
        (world.state / f"file{index}").write_text(str(index))
    with Zygote(world.layout()) as zygote:
        assert zygote.capture("S0").files == 10_000
        zygote.copy("S0", "copy")
        assert sum(e.kind == "file" for e in zygote.walk("copy")) == 10_000
        assert zygote.read("copy", f"{world.state}/file9999") == b"9999"


def test_only_what_a_sparse_file_occupies_counts(world: World) -> None:
    with open(world.state / "sparse", "wb") as sparse:
        sparse.truncate(5 << 30)
        sparse.seek(4 << 30)
        sparse.write(b"data")
    with Zygote(world.layout()) as zygote:
        assert zygote.capture("S0").bytes < 10 << 20
        zygote.copy("S0", "copy")
        with zygote.sandbox("copy") as sandbox:
            said = world.shell(sandbox, "stat -c %s state/sparse; tail -c +4294967297 state/sparse | head -c 4")
        assert said == f"{5 << 30}\ndata"


def test_a_state_beyond_the_limit_is_refused_and_forgotten(world: World) -> None:
    (world.state / "large").write_bytes(os.urandom(3 << 20))
    with Zygote(world.layout(), limit_bytes=1 << 20) as zygote:
        with pytest.raises(SandboxLimit, match="more than 1 MB") as caught:
            zygote.capture("S0")
        assert "--state" in caught.value.next_step
        assert zygote.names() == ()


def test_a_target_that_fills_its_memory_meets_a_full_disk_and_we_say_so(world: World) -> None:
    with Zygote(world.layout(), limit_bytes=1) as zygote:
        zygote.capture("S0")
        zygote.copy("S0", "full")
        with zygote.sandbox("full") as sandbox:
            _, said = world.run(sandbox, "sh", "-c", "head -c 600000000 /dev/zero > state/huge")
            assert "No space left" in said
            assert "full" in sandbox.trouble()
        with zygote.sandbox("S0") as sandbox:
            world.shell(sandbox, "echo fine > state/small")
            assert sandbox.trouble() == ""


def test_a_directory_deeper_than_any_program_needs_is_refused(world: World) -> None:
    with Zygote(world.layout()) as zygote:
        zygote.capture("S0")
        with zygote.sandbox("S0") as sandbox:
            deep = "import os\nos.chdir('state')\nfor i in range(2000):\n os.mkdir('d')\n os.chdir('d')"
            world.run(sandbox, "/usr/bin/python3", "-c", deep)
        with pytest.raises(SandboxLimit, match="nested"):
            zygote.copy("S0", "copy")
        with pytest.raises(SandboxLimit, match="nested"):
            list(zygote.walk("S0"))
        assert zygote.names() == ("S0",)


def test_unknown_and_repeated_names_are_mistakes(world: World) -> None:
    with Zygote(world.layout()) as zygote:
        zygote.capture("S0")
        with pytest.raises(FileExistsError):
            zygote.capture("S0")
        with pytest.raises(KeyError):
            zygote.copy("S1", "S2")
        with pytest.raises(FileNotFoundError):
            zygote.open_in("S0", "/etc/passwd")
        with pytest.raises(FileNotFoundError):
            zygote.read("S0", f"{world.state}/none")
        zygote.remove("S0", f"{world.state}/none")


def test_directories_that_cannot_be_state_are_refused() -> None:
    for path in ("/", "/proc/sys", "/tmp", "/etc/passwd"):
        with pytest.raises(BlackstartError, match="directory"):
            Layout.of(cwd="/", home="/", copies=[path])


def test_a_replaced_directory_of_a_mount_is_said_not_followed(world: World) -> None:
    outer = Path("/tmp") / f"blackstart-displaced-{os.getpid()}" / "app"
    outer.mkdir(parents=True)
    try:
        layout = Layout.of(cwd=str(outer), home="/", copies=[str(outer)])
        with Zygote(layout) as zygote:
            zygote.capture("S0")
            with zygote.sandbox("S0") as sandbox:
                top = outer.parent
                world.shell(sandbox, f"mv {top} {top}-moved && ln -s /usr {top}")
            with zygote.sandbox("S0") as sandbox, pytest.raises(SandboxLimit, match="no longer a directory"):
                sandbox.wait_ready()
            assert not os.path.exists("/usr/app")
    finally:
        outer.rmdir()
        outer.parent.rmdir()


def library_environment(world: World) -> dict[str, str]:
    import msgspec

    import blackstart

    paths = {str(Path(m.__file__ or "").parents[1]) for m in (blackstart, msgspec)}
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(paths)}


@pytest.mark.parametrize("isolation", ["namespaces", "landlock"])
def test_a_sandbox_inside_a_sandbox_takes_the_fallback_or_says_why_not(world: World, isolation: str) -> None:
    machine = probe()
    if not (getattr(machine, isolation) and machine.landlock):
        pytest.skip(f"no {isolation} on this machine")
    (world.cwd / "inner.py").write_text(INNER)
    # Both may lie below /tmp, which is another one inside.
    needed = [sys.prefix, str(Path(blackstart.__file__).parents[1])]
    with Zygote(world.layout(overlays=needed), isolation=isolation) as zygote:
        zygote.capture("S0")
        reading, writing = os.pipe()
        with zygote.sandbox("S0") as sandbox, os.fdopen(reading) as output:
            sandbox.start(
                [sys.executable, str(world.cwd / "inner.py"), str(world.state)],
                env=library_environment(world), stdin=world.null, stdout=writing, stderr=writing,
            )  # fmt: skip
            os.close(writing)
            ended = sandbox.event(300)
            sandbox.kill()
            said = output.read()
    assert ended is not None
    if isolation == "namespaces":
        assert (ended.status, said.split()) == (0, ["landlock", "False", "True"]), said
    else:
        assert "already a sandbox" in said


def test_without_user_namespaces_the_fallback_is_taken() -> None:
    machine = probe()
    if not (machine.namespaces and machine.landlock):
        pytest.skip("no namespaces on this machine")
    with person("user") as somebody:
        program = somebody.base / "inner.py"
        program.write_text(INNER)
        (somebody.work / "state").mkdir()
        os.chown(somebody.work / "state", *[somebody.work.stat().st_uid] * 2)
        script = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
        inner = [somebody.python, str(program), str(somebody.work / "state")]
        ended = subprocess.run(
            somebody.command(["unshare", "-Ur", "sh", "-c", script, "sh", *inner]),
            env=somebody.environment(), cwd=somebody.work, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[:2] == ["landlock", "False"]


def test_without_either_the_refusal_names_the_next_step(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = probe()
    poor = type(machine)(kernel="5.15", architecture="x86_64", user=1000, abilities=(), landlock_abi=0)
    monkeypatch.delenv("BLACKSTART_ISOLATION", raising=False)
    with pytest.raises(SandboxUnavailable, match="no sandbox can be made here") as caught:
        choose(poor)
    assert caught.value.next_step
    monkeypatch.setenv("BLACKSTART_ISOLATION", "chroot")
    with pytest.raises(SandboxUnavailable, match="no isolation 'chroot'"):
        choose(machine)
    monkeypatch.setenv("BLACKSTART_ISOLATION", "landlock")
    if machine.landlock:
        assert choose(machine) == "landlock"


def test_no_space_in_the_work_area_is_said(tmp_path: Path) -> None:
    if not (probe().namespaces and probe().landlock):
        pytest.skip("no namespaces on this machine")
    with person("user") as somebody:
        state, small = somebody.work / "state", somebody.work / "small"
        for path in (state, small):
            path.mkdir()
            os.chown(path, *[somebody.work.stat().st_uid] * 2)
        (state / "large").write_bytes(os.urandom(3 << 20))
        program = somebody.base / "inner.py"
        program.write_text(INNER)
        script = f'mount -t tmpfs -o size=1m small {small}; exec "$@"; '
        inner = [somebody.python, str(program), str(state)]
        ended = subprocess.run(
            somebody.command(["unshare", "-Urm", "sh", "-c", script, "sh", *inner]),
            env=somebody.environment(TMPDIR=str(small), BLACKSTART_ISOLATION="landlock"),
            cwd=somebody.work, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    assert ended.returncode != 0
    assert "SandboxLimit" in ended.stderr
    assert "No space left" in ended.stderr

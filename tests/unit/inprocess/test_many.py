"""Ten thousand failpoints: armed one by one and all at once, and listed, with work that grows as their number does.

covers: M-4
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from blackstart.cli import failpoints
from blackstart.inprocess import NeverFired, UnknownFailpoint, armed, modules, placing, weaving

FILES, EACH = 100, 100
FUNCTION = "def f{number}():\n    # failpoint: many-{file}-{number}\n    return {number}\n\n\n"


def source(file: int, functions: int) -> str:
    return "".join(FUNCTION.format(file=file, number=number) for number in range(functions))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a hundred modules, loaded, with ten thousand failpoints."""
    package = tmp_path / "ten_thousand"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for file in range(FILES):
        (package / f"m{file}.py").write_text(source(file, EACH))
        importlib.import_module(f"ten_thousand.m{file}")
    yield package
    for name in [name for name in sys.modules if name.startswith("ten_thousand")]:
        sys.modules.pop(name)


def counted(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[Any]:
    """The first arguments of all calls of this function from now on."""
    calls: list[Any] = []
    original = getattr(module, name)

    def counting(first: Any, *more: Any, **named: Any) -> Any:
        calls.append(first)
        return original(first, *more, **named)

    monkeypatch.setattr(module, name, counting)
    return calls


def test_one_of_ten_thousand_is_armed_and_only_its_module_compiled(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, compiled = (counted(monkeypatch, *where) for where in ((modules, "sites_in"), (weaving, "_compiled")))
    module = sys.modules["ten_thousand.m7"]
    for _ in range(2):
        with armed("many-7-3", "return(-1)") as point:
            assert (module.f3(), module.f4(), sys.modules["ten_thousand.m8"].f3()) == (-1, 4, 3)
        assert (point.hits, module.f3()) == (1, 3)
    # Each file is read for failpoints once; the plain code is compiled once, and the armed code each time.
    assert sum(text.startswith("def f0():\n    # failpoint: many-") for text in read) == FILES
    assert len(compiled) == 3


def test_a_wrong_name_among_ten_thousand_is_told_the_nearest(tree: Path) -> None:
    with pytest.raises(UnknownFailpoint, match=r"no failpoint 'many-7-333'; did you mean 'many-7-33' \(.*m7.py:167\)"):
        armed("many-7-333", "off").__enter__()


def test_all_ten_thousand_are_listed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failpoints.run([str(tree)], []) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (len(lines), len(set(lines))) == (FILES * EACH, FILES * EACH)
    assert f"many-99-99  {tree}/m99.py:497" in lines


def work_of_all(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Arm so many failpoints of one module at once; how many statements and code objects were looked at for it."""
    name = f"all_{number}"
    (tmp_path / f"{name}.py").write_text(source(number, number))
    module = importlib.import_module(name)
    looks = [
        counted(monkeypatch, *where)
        for where in ((placing, "_first_line"), (weaving, "every"), (weaving, "enclosing"), (modules, "source_of"))
    ]
    with pytest.raises(NeverFired) as caught, armed([f"many-{number}-{n}" for n in range(number)], "return(-1)"):
        pass
    text = f"the rule 'return(-1)' at many-{number}-0, many-{number}-1, many-{number}-2 and {number - 3} more"
    assert str(caught.value).startswith(text)
    with armed([f"many-{number}-{n}" for n in range(number)], "return(-1)") as point:
        assert [module.f0(), getattr(module, f"f{number - 1}")()] == [-1, -1]
    assert (point.hits, module.f0()) == (2, 0)
    sys.modules.pop(name)
    monkeypatch.undo()
    return sum(map(len, looks))


def test_all_at_once_cost_as_much_each_as_few_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = []
    for number in (100, 2000):
        monkeypatch.syspath_prepend(tmp_path)
        each.append(work_of_all(number, tmp_path, monkeypatch) / number)
    # By halves a search takes a few steps more among twenty times as many; one by one it would take twenty times.
    assert each[1] < 3 * each[0]

"""The command line over `blackstart.toml` over what is built in; what cannot be meant is told with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.cli.settings import Settings, files_from, options_from, pairs
from blackstart.core.errors import BlackstartError


def test_what_nobody_said_has_its_default(tmp_path: Path) -> None:
    options = options_from(Settings(command=["x"]), str(tmp_path))
    assert (options.command, options.cwd, options.budget_s, options.trials) == (("x",), str(tmp_path), 120.0, 0)
    assert (options.state, options.env, options.only, options.json, options.isolation) == ((), {}, (), "", "")


def test_a_seed_is_drawn_unless_it_is_given(tmp_path: Path) -> None:
    drawn = {options_from(Settings(), str(tmp_path)).seed for _ in range(4)}
    assert len(drawn) > 1 and all(0 <= seed < 2**32 for seed in drawn)
    assert options_from(Settings(seed=0), str(tmp_path)).seed == 0


def test_the_command_line_wins_lists_are_replaced_and_env_is_merged(tmp_path: Path) -> None:
    (tmp_path / "blackstart.toml").write_text(
        'command = ["a", "b"]\nstate = ["one", "two"]\nbudget = "1h"\njobs = 4\nseed = 9\ncheck = "cat x"\n'
        'only = "errno"\nallow = "socket:/run/x"\nisolation = "landlock"\n[env]\nA = "1"\nB = "2"\n'
    )
    kept = options_from(Settings(), str(tmp_path))
    assert (kept.command, kept.state, kept.budget_s, kept.jobs, kept.seed) == (("a", "b"), ("one", "two"), 3600.0, 4, 9)
    assert (kept.check, kept.only, kept.allow, kept.isolation) == ("cat x", ("errno",), ("socket:/run/x",), "landlock")
    given = Settings(command=["c"], state=["three"], budget="30s", jobs=1, env={"B": "3", "C": ""}, check="")
    over = options_from(given, str(tmp_path))
    assert (over.command, over.state, over.budget_s, over.jobs, over.check) == (("c",), ("three",), 30.0, 1, "")
    assert over.env == {"A": "1", "B": "3", "C": ""}


def test_pyproject_is_read_where_there_is_no_file_of_ours(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\n[tool.blackstart]\ntrials = 7\n')
    assert options_from(Settings(), str(tmp_path)).trials == 7
    (tmp_path / "blackstart.toml").write_text("")
    assert options_from(Settings(), str(tmp_path)).trials == 0


def test_kinds_are_separated_by_commas_or_given_again(tmp_path: Path) -> None:
    assert options_from(Settings(only=["errno, kill", "db"]), str(tmp_path)).only == ("errno", "kill", "db")


def test_a_directory_is_meant_from_where_the_command_is_given(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    assert options_from(Settings(cwd="sub"), str(tmp_path)).cwd == str(tmp_path / "sub")


@pytest.mark.parametrize(
    ("file", "text", "what", "step"),
    [
        ("blackstart.toml", "jobs = 'many'", "key `jobs`: expected `int`, got `str`", "write a whole number"),
        ("blackstart.toml", "command = 'a b'", "key `command`: expected `array`", 'write a list of texts, such as ["'),
        ("blackstart.toml", "only = 3", "key `only`: expected `str | array`, got `int`", "write a text, or a list of"),
        ("blackstart.toml", "env = 'A=1'", "key `env`: expected `object`", "such as { LANG ="),
        ("blackstart.toml", "state = [1]", r"key `state\[0\]`: expected `str`, got `int`", "in quotes"),
        ("blackstart.toml", "env = { A = 1 }", r"key `env\[\.\.\.\]`: expected `str`, got `int`", "in quotes"),
        ("blackstart.toml", "bugdet = '2m'", "no key `bugdet`", "did you mean `budget`"),
        ("blackstart.toml", "zzz = 1", "no key `zzz`", "known keys: command, state"),
        ("blackstart.toml", "a = = 1", "this is not TOML: Invalid value", "correct that line"),
        ("pyproject.toml", "[tool]\nblackstart = 3", "key `tool.blackstart`: expected `object`", "--help"),
        ("pyproject.toml", "[tool.blackstart]\nseed = 1.5", "key `tool.blackstart.seed`", "a whole number"),
        ("pyproject.toml", "[tool.blackstart]\nsed = 1", "no key `tool.blackstart.sed`", "`seed`"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_path_and_key(
    tmp_path: Path, file: str, text: str, what: str, step: str
) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(BlackstartError, match=what) as error:
        options_from(Settings(), str(tmp_path))
    assert error.value.where == str(tmp_path / file) and step in error.value.next_step


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "blackstart.toml").mkdir()
    with pytest.raises(BlackstartError, match="settings cannot be read"):
        options_from(Settings(), str(tmp_path))
    (tmp_path / "blackstart.toml").rmdir()
    (tmp_path / "blackstart.toml").write_bytes(b"check = '\xff'")
    with pytest.raises(BlackstartError, match="not TOML"):
        options_from(Settings(), str(tmp_path))


@pytest.mark.parametrize(
    ("given", "what"),
    [
        (Settings(only=["erno"]), "no kind 'erno'"),
        (Settings(isolation="docker"), "no isolation 'docker'"),
        (Settings(cwd="missing"), "working directory does not exist"),
        (Settings(budget="soon"), "not a duration"),
        (Settings(budget="0s"), "no time"),
        (Settings(trials=-1), "less than nothing"),
        (Settings(jobs=-2), "less than nothing"),
        (Settings(env={"A": "\0"}), "cannot be in an environment"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(tmp_path: Path, given: Settings, what: str) -> None:
    with pytest.raises(BlackstartError, match=what) as error:
        options_from(given, str(tmp_path))
    assert error.value.next_step


def test_variables_are_pairs() -> None:
    assert pairs(["A=1", "B=", "C=x=y", "D=caf\udce9"]) == {"A": "1", "B": "", "C": "x=y", "D": "caf\udce9"}
    for bad in ("A", "=1", ""):
        with pytest.raises(BlackstartError, match="not NAME=VALUE"):
            pairs([bad])


def test_reports_baseline_and_scenarios_can_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "blackstart.toml").write_text(
        f'html = "{tmp_path}/page.html"\njunit = "j.xml"\nbaseline = "known.toml"\nscenarios = ["own.toml"]\n'
    )
    options = options_from(Settings(command=["x"]), str(tmp_path))
    assert (options.baseline, options.scenarios) == (f"{tmp_path}/known.toml", (f"{tmp_path}/own.toml",))
    files = files_from(Settings(junit="-"), str(tmp_path))
    assert files == {"json": "", "html": f"{tmp_path}/page.html", "junit": "-", "sarif": "", "markdown": ""}
    for name in ("/missing/r.json", "/"):
        with pytest.raises(BlackstartError, match="could not be written"):
            files_from(Settings(json=name), str(tmp_path))

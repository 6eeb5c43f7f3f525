"""The pages say what the program does: every command, option, kind, oracle, consequence, verb and door has its place.

Works on the program itself (its commands are asked, not parsed), so that a new option without a word about it fails
here. What the README and the getting-started page tell people to type is checked to exist and, where it is quick, run.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from blackstart.core import rule, verdict
from blackstart.core.calibration import ROLES
from blackstart.core.options import ISOLATIONS, KINDS
from blackstart.core.verbs import VERBS
from tests import house_text

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMAND_PAGES = DOCS / "commands"
FIRST_READ = [ROOT / "README.md", DOCS / "getting-started.md"]
ORACLES = (
    "fired", "end", "state", "restart", "acknowledged", "answer", "together", "twice", "power", "alive", "stop", "left"
)  # fmt: skip


def page(*names: str) -> str:
    """The text of one page below docs."""
    return DOCS.joinpath(*names).read_text(encoding="utf-8")


def table_rows(text: str) -> dict[str, str]:
    """Markdown tables as first cell -> the rest of the row."""
    rows = re.findall(r"^\| *(.+?) *\| *(.*?) *\|$", text, re.MULTILINE)
    return {first: rest for first, rest in rows if not set(first) <= set("- ")}


@cache
def commands() -> dict[str, Any]:
    """The commands of the program, by name."""
    import typer

    for name in ("blackstart.cli", "blackstart.cli.app", "blackstart.cli.main"):
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        for value in vars(module).values():
            if isinstance(value, typer.Typer):
                found: dict[str, Any] = dict(typer.main.get_command(value).commands)  # type: ignore[attr-defined]
                return {command: one for command, one in found.items() if not one.hidden}
    return {}


def some_commands() -> dict[str, Any]:
    """The commands, or a skip where there are none yet."""
    return commands() or pytest.skip("the command line does not exist yet")


def options_of(command: Any) -> dict[str, str]:
    """Every spelling of every option of a command -> the parameter's name."""
    return {
        spelling: parameter.name
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False)
        for spelling in (*parameter.opts, *parameter.secondary_opts)
        if spelling != "--help"
    }


def documented_options(text: str) -> set[str]:
    """Spellings in the first column of the tables of a page: `--state PATH`."""
    first_cells = " ".join(cell for cell in table_rows(text) if cell.startswith("`-"))
    return set(re.findall(r"`(--?[a-z][a-z-]*)", first_cells))


def test_every_command_has_a_page_and_every_page_a_command() -> None:
    assert {path.stem for path in COMMAND_PAGES.glob("*.md")} == set(some_commands())


def test_every_option_stands_in_the_table_of_its_command() -> None:
    missing = [
        f"docs/commands/{name}.md: {spelling}"
        for name, command in some_commands().items()
        for spelling in sorted(set(options_of(command)) - documented_options(page("commands", f"{name}.md")))
    ]
    assert not missing, "options without a row:\n" + "\n".join(missing)


def test_no_page_promises_an_option_that_does_not_exist() -> None:
    invented = [
        f"docs/commands/{name}.md: {spelling}"
        for name, command in some_commands().items()
        for spelling in sorted(documented_options(page("commands", f"{name}.md")) - set(options_of(command)))
    ]
    assert not invented, "rows without an option:\n" + "\n".join(invented)


def test_the_settings_file_in_the_page_is_understood(tmp_path: Path) -> None:
    settings = pytest.importorskip("blackstart.cli.settings", reason="no settings yet", exc_type=ImportError)
    (shown,) = re.findall(r"^```toml\n(.*?)^```", page("commands", "run.md"), re.MULTILINE | re.DOTALL)
    (tmp_path / "blackstart.toml").write_text(shown)
    options = settings.options_from(settings.Settings(), str(tmp_path))
    assert options.command == ("./add-note", "milk")
    assert options.budget_s == 600


def test_every_option_explains_itself_in_help() -> None:
    silent = [
        f"{name} {parameter.opts[0]}"
        for name, command in some_commands().items()
        for parameter in command.params
        if parameter.param_type_name == "option" and not getattr(parameter, "hidden", False) and not parameter.help
    ]
    assert not silent, "\n".join(silent)


def test_every_kind_has_a_page_and_a_row_in_the_index() -> None:
    assert {path.stem for path in (DOCS / "kinds").glob("*.md")} == set(KINDS)
    for text in (page("index.md"), FIRST_READ[0].read_text(encoding="utf-8")):
        assert {kind for kind in KINDS if f"[`{kind}`]" in text} == set(KINDS)


def test_the_kinds_that_can_be_asked_for_are_those_that_exist() -> None:
    faults = pytest.importorskip("blackstart.faults", reason="the faults do not exist yet", exc_type=ImportError)
    assert set(faults.KINDS) == set(KINDS)


def test_the_kinds_that_help_names_are_those_that_exist() -> None:
    (only,) = [one for one in some_commands()["run"].params if "--only" in one.opts]
    assert only.help == f"These kinds: {', '.join(KINDS)}."  # written out there, as help imports nothing that works


def test_every_oracle_has_a_page() -> None:
    assert {path.stem for path in (DOCS / "oracles").glob("*.md")} == set(ORACLES)
    for oracle in ORACLES:
        assert f"](oracles/{oracle}.md)" in page("index.md")
        assert f"](oracles/{oracle}.md)" in page("how-it-judges.md")


def test_the_oracles_with_pages_are_those_that_judge() -> None:
    oracles = pytest.importorskip("blackstart.oracles", reason="the oracles do not exist yet", exc_type=ImportError)
    assert set(oracles.JOB_ORACLES) | set(oracles.SERVICE_ORACLES) == set(ORACLES)


def glossary_row(word: str) -> str:
    """What the glossary says of a word; a failure if it says nothing."""
    rows = table_rows(page("glossary.md"))
    assert f"`{word}`" in rows, f"docs/glossary.md has no row for {word}"
    return rows[f"`{word}`"]


@pytest.mark.parametrize("word", [*verdict.CONSEQUENCES, verdict.DEFECT, verdict.POLICY, verdict.NOTE, *ROLES])
def test_every_consequence_label_and_role_is_explained(word: str) -> None:
    assert len(glossary_row(word)) > 10


@pytest.mark.parametrize("word", verdict.CONSEQUENCES)
def test_every_consequence_has_its_severity(word: str) -> None:
    severities = table_rows(page("how-it-judges.md"))
    named = " ".join(severities[name] for name in ("critical", "major", "minor"))
    assert f"`{word}`" in named


def test_every_verdict_is_explained() -> None:
    assert {verdict.PASSED, verdict.FAILED, verdict.UNKNOWN} <= set(table_rows(page("how-it-judges.md")))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_explained_in_its_own_words(verb: str) -> None:
    argument, _, meaning = table_rows(page("rule-grammar.md"))[f"`{verb}`"].partition(" | ")
    assert argument
    assert meaning == VERBS[verb]


def test_the_rules_in_the_pages_can_be_read() -> None:
    blocks = [
        line
        for path in DOCS.rglob("*.md")
        for block in re.findall(r"^```rule\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    assert len(blocks) >= 5
    for text in blocks:
        assert str(rule.parse(text)) == text


def test_the_mistake_in_the_page_looks_as_it_is_shown() -> None:
    shown = re.findall(r"^```text\n(.*?)^```", page("rule-grammar.md"), re.MULTILINE | re.DOTALL)[-1]
    with pytest.raises(rule.RuleError) as caught:
        rule.parse(shown.splitlines()[1].strip())
    assert str(caught.value) == shown.rstrip("\n")


@pytest.mark.parametrize("isolation", [name for name in ISOLATIONS if name])
def test_every_door_is_explained_for_each_isolation(isolation: str) -> None:
    guard = pytest.importorskip("blackstart.guard", reason="the doors do not exist yet", exc_type=ImportError)
    sandbox = pytest.importorskip("blackstart.sandbox", reason="the sandbox does not exist yet", exc_type=ImportError)
    rows = {cell: words.split(" | ") for cell, words in table_rows(page("sandbox.md")).items() if " | " in words}
    column = rows["door"].index(f"`{isolation}`")
    for door in guard.doors(sandbox.Layout(cwd="/", home="/"), isolation):
        assert door.kind in rows, f"docs/sandbox.md has no row for {door.kind}"
        assert door.state in rows[door.kind][column], f"docs/sandbox.md: {door.kind} is {door.state}"


def test_every_row_of_doctor_is_explained() -> None:
    sandbox = pytest.importorskip("blackstart.sandbox", reason="the sandbox does not exist yet", exc_type=ImportError)
    rows = table_rows(page("commands", "doctor.md"))
    assert [one.name for one in sandbox.probe().abilities if f"`{one.name}`" not in rows] == []


def test_every_mode_of_isolation_is_explained() -> None:
    assert {f"`{name}`" for name in ISOLATIONS if name} <= set(table_rows(page("sandbox.md")))


def test_decisions_are_numbered_and_listed_and_have_their_parts() -> None:
    pages = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [path.name[:4] for path in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert {"choice", "why", "what-would-change-our-mind"} <= house_text.anchors(text), path.name
        title = text.partition("\n")[0].removeprefix("# ")
        assert f"({path.name}) | {title} |" in page("decisions", "README.md")
        assert len(text.splitlines()) <= 40, f"{path.name} is longer than half a page"


def typed_lines(path: Path) -> Iterator[str]:
    """What a page tells people to type: indented lines, and `$` lines of console blocks."""
    text = path.read_text(encoding="utf-8")
    for block in re.findall(r"^```(?:console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith(("$ ", "blackstart ")))
    for _, line in house_text.prose_lines(text):
        if line.startswith("    ") and line.strip().startswith(("blackstart ", "make ", "pip ")):
            yield line.strip()


def synopses(path: Path) -> Iterator[str]:
    """Typed lines that are examples: not the form with OPTIONS or upper-case placeholders."""
    return (line for line in typed_lines(path) if not re.search(r"\[[A-Z]|\b[A-Z]{4,}\b", line))


def all_pages() -> list[Path]:
    """Every page for users."""
    return [*FIRST_READ[:1], *sorted(DOCS.rglob("*.md"))]


def test_make_targets_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    typed = {line.split()[1] for path in all_pages() for line in typed_lines(path) if line.startswith("make ")}
    assert typed <= targets
    assert {"demo", "test"} <= targets


@pytest.mark.parametrize("path", all_pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_the_pages_can_be_typed(path: Path) -> None:
    for line in synopses(path):
        words = shlex.split(line, comments=True)
        if words[0] != "blackstart" or words[1].startswith("-"):
            continue
        command = some_commands().get(words[1])
        assert command is not None, f"{line}: there is no command {words[1]}"
        # Parsed as the program parses it, without doing it.
        with command.make_context(words[1], words[2:], resilient_parsing=False):
            pass


@pytest.mark.parametrize("name", ["run", "plan", "replay", "report", "doctor", "undo"])
def test_each_command_prints_its_help(name: str) -> None:
    some_commands()
    done = subprocess.run(
        [sys.executable, "-m", "blackstart", name, "--help"], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.live
def test_what_the_readme_shows_can_be_repeated(tmp_path: Path) -> None:
    """Each `$ blackstart ...` of the README, in order, in a copy of the example that the page is about."""
    shutil.copytree(ROOT / "examples" / "notes", tmp_path / "notes")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    for line in typed_lines(FIRST_READ[0]):
        words = shlex.split(line, comments=True)
        if words[0] != "blackstart" or line in synopses_of_others():
            continue
        done = subprocess.run(
            words, cwd=tmp_path / "notes", env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode in (0, 1), f"{line}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr


def synopses_of_others() -> set[str]:
    """Lines of the README that stand for the reader's own program."""
    return {line for line in typed_lines(FIRST_READ[0]) if "./my-" in line}

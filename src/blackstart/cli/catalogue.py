"""`blackstart catalogue`: the scenarios, listed or one in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from blackstart.cli.ending import finish

if TYPE_CHECKING:
    from rich.console import Console

    from blackstart.catalogue import Scenario


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command(short_help="List the scenarios: failure modes that people know by name.")(catalogue)


def catalogue(
    identity: Annotated[str, typer.Argument(metavar="[ID]", help="One scenario in full.")] = "",
    kind: Annotated[str, typer.Option("--kind", metavar="KIND", help="Only those that this kind provokes.")] = "",
    tier: Annotated[int, typer.Option("--tier", metavar="N", min=0, max=3, help="Only this tier: 1 to 3.")] = 0,
    applies_to: Annotated[str, typer.Option("--applies-to", metavar="WHAT", help="Only those for this.")] = "",
    scenarios: Annotated[
        list[str] | None, typer.Option("--scenarios", metavar="FILE", help="More scenarios; repeatable.")
    ] = None,
) -> None:
    """List the scenarios: failure modes, what ought to happen, and which faults provoke them."""
    finish(lambda: _show(identity, kind, tier, applies_to, scenarios or []))


def _show(identity: str, kind: str, tier: int, applies_to: str, files: list[str]) -> int:
    import difflib

    from blackstart.catalogue import load
    from blackstart.core.errors import BlackstartError
    from blackstart.report import terminal

    known = load(files)
    out = terminal.console()
    _check("kind", kind, {name for one in known for name in one.kinds})
    _check("role or thing", applies_to, {name for one in known for name in one.applies_to})
    if identity:
        found = next((one for one in known if one.id == identity), None)
        if found is None:
            near = difflib.get_close_matches(identity, [one.id for one in known], 1)
            step = f"did you mean {near[0]}?" if near else "`blackstart catalogue` lists them"
            raise BlackstartError(f"there is no scenario {identity!r}", next_step=step)
        _whole(out, found)
        return 0
    for one in known:
        if (
            (not kind or kind in one.kinds)
            and tier in (0, one.tier)
            and (not applies_to or applies_to in one.applies_to)
        ):
            kinds = ", ".join(one.kinds) or "no fault yet"
            out.print(terminal.line(f"{one.id:<26} {one.tier}  {one.title} ({kinds})"), soft_wrap=True)
    return 0


def _check(what: str, name: str, names: set[str]) -> None:
    """A name that no scenario has is a slip of the keyboard, not an empty list."""
    from blackstart.core.errors import BlackstartError

    if name and name not in names:
        raise BlackstartError(f"no scenario has the {what} {name!r}", next_step=f"there are {', '.join(sorted(names))}")


def _whole(out: Console, one: Scenario) -> None:
    from blackstart.report import terminal

    evidence = [
        " ".join(
            [
                e.kind,
                *(f"{name} {', '.join(v)}" for name in ("what", "call", "role") if (v := getattr(e, name))),
                e.phase,
            ]
        ).strip()
        for e in one.evidence
    ]
    rows = (
        ("title", one.title),
        ("tier", str(one.tier)),
        ("applies to", ", ".join(one.applies_to)),
        ("impact", one.impact),
        ("recovery", one.recovery),
        *(("evidence", line) for line in evidence or ["a run has no fault for it"]),
        ("needs", one.needs),
        ("judged by", ", ".join(one.oracles)),
        ("also known", ", ".join(one.refs)),
    )
    for label, text in rows:
        if text:
            out.print(terminal.line(f"  {label:<11} {text}"), soft_wrap=True)

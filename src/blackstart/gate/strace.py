"""strace as a second way to record and to break a program: the gate's test oracle. Runs do not use it (decision 0013).

It is slower, stops each thread twice a call, and can do less: one rule for each call, counted for each thread on its
own, by the call's name and at most one whole path. `refuse` says what it cannot do, and why.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from blackstart.core.clock import SYSTEM
from blackstart.core.errors import BlackstartError
from blackstart.core.rule import RuleError, Term
from blackstart.core.rule import refuse as refuse_verbs
from blackstart.core.trace import Operation
from blackstart.gate import calls as tables
from blackstart.gate.places import stream_names
from blackstart.gate.strace_lines import FOLLOWED, Interpreter, lines
from blackstart.gate.tampering import Firing, Tamper

VERBS = frozenset({"off", "raise", "sleep", "delay", "kill"})
HIT_MAX = 65_535
_INJECTED = re.compile(r"\((INJECTED|DELAYED)[^)]*\)$")
# Of strings and of arrays strace shows so much; an iovec has at most so many parts.
_ARRAY_MAX = 1024
# Younger than the strace of Debian 12.
_UNKNOWN_TO_STRACE = frozenset({"fchmodat2"})


class Traced(msgspec.Struct, frozen=True, kw_only=True):
    """A program that was run under strace: how it ended (negative: by a signal), what it printed, did and met."""

    code: int
    stdout: bytes
    stderr: bytes
    trace: tuple[Operation, ...] = ()
    firings: tuple[Firing, ...] = ()


def refuse(tampers: Sequence[Tamper]) -> None:
    """Raise a BlackstartError at the first thing that strace cannot do, with the reason."""
    taken: set[str] = set()
    for tamper in tampers:
        refuse_verbs(tamper.rule, VERBS, "strace")
        text = str(tamper.rule)
        if len(tamper.rule.terms) > 1:
            raise _cannot("strace cannot chain terms: it takes one rule for each call", text, text.index("->"))
        term = tamper.rule.terms[0]
        at = text.index(term.verb)
        if term.verb == "kill" and term.is_after:
            raise _cannot("strace cannot kill after a call: its signals come before", text, at)
        if term.verb == "raise" and not term.exception.errno:
            raise _cannot("strace needs an errno, such as raise(OSError: EIO)", text, at)
        if term.percent is not None:
            raise _cannot("strace cannot fire by chance", text, 0)
        last = (term.first or 1) + (term.times or 1) - 1
        if max(last, term.step) > HIT_MAX:
            raise _cannot(f"strace counts to {HIT_MAX} only (16 bits)", text, 0)
        if term.times is not None and term.step != 1:
            raise _cannot("strace can limit how often it fires only from a hit on, as in 2*@3+", text, 0)
        _refuse_match(tamper, taken)


def _refuse_match(tamper: Tamper, taken: set[str]) -> None:
    match, text = tamper.match, str(tamper.rule)
    if match.context:
        raise _cannot("strace cannot tell which function makes a call", text, 0)
    if match.opening:
        raise _cannot("strace cannot tell opens that make a file from others", text, 0)
    if match.kind:
        raise _cannot("strace cannot tell kinds of descriptors", text, 0)
    if match.path != "*" and not match.exact and ("*" in match.path or "|" in match.path):
        raise _cannot("strace cannot match path patterns", text, 0)
    if match.path != "*" and any(tables.CALLS[call].path >= 0 for call in tables.expand(match.call)):
        raise _cannot("strace compares path arguments as the program writes them, not whole paths", text, 0)
    if match.path != "*" and not match.path.startswith("/"):
        raise _cannot("strace needs a whole path, unmasked", text, 0)
    if taken:
        paths = {path for path in taken if path.startswith("/")}
        if paths and {match.path} != paths:
            raise _cannot("strace can apply all its rules to one path only", text, 0)
    for call in tables.expand(match.call):
        if call in taken:
            raise _cannot(f"strace can have one rule for {call} only", text, 0)
        taken.add(call)
    taken.add(match.path)


def _cannot(what: str, text: str, at: int) -> RuleError:
    return RuleError(what, text=text, at=at, next_step="use the gate, which can (it needs a seccomp listener)")


def program() -> str:
    """The path of strace, or a BlackstartError."""
    found = shutil.which("strace")
    if not found:
        raise BlackstartError("strace is not installed", next_step="install the package strace", exit_status=3)
    return found


def record(
    argv: Sequence[str | bytes],
    *,
    calls: frozenset[str] = tables.DEFAULT,
    mask: Callable[[str], str] = str,
    cwd: str = ".",
    env: Mapping[str, str] | None = None,
    data_max: int = 0,
    timeout_s: float = 60.0,
) -> Traced:
    """Run a program to its end and tell what it did."""
    wanted = calls - _UNKNOWN_TO_STRACE
    options = ["--seccomp-bpf", "-s", str(max(data_max, _ARRAY_MAX))]
    options += ["-e", "trace=" + ",".join(sorted(wanted | FOLLOWED))]
    code, stdout, stderr, text, streams = _run(options, argv, cwd, env, timeout_s)
    interpreter = Interpreter(cwd=cwd, mask=mask, wanted=wanted, streams=streams, data_max=data_max)
    trace = interpreter.operations(lines(text))
    # The first execve of all is that of strace's own child.
    if trace and trace[0].call == "execve":
        trace = [msgspec.structs.replace(o, index=o.index - 1) for o in trace[1:]]
    return Traced(code=code, stdout=stdout, stderr=stderr, trace=tuple(trace))


def inject(
    argv: Sequence[str | bytes],
    tampers: Sequence[Tamper],
    *,
    mask: Callable[[str], str] = str,
    cwd: str = ".",
    env: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
) -> Traced:
    """Run a program to its end with these faults; the trace has only the calls of the rules. What `refuse` refuses
    is refused.
    """
    refuse(tampers)
    by_call = {
        call: (index, tamper)
        for index, tamper in enumerate(tampers)
        for call in tables.expand(tamper.match.call) - _UNKNOWN_TO_STRACE
    }
    # Not --seccomp-bpf: with it, strace 6.1 delivers no signals.
    options = ["-s", str(_ARRAY_MAX), "-e", "trace=" + ",".join(sorted({*by_call, *FOLLOWED}))]
    for call, (_, tamper) in sorted(by_call.items()):
        term = tamper.rule.terms[0]
        if term.verb != "off":
            options += ["-e", f"inject={call}:{_action(term)}{_when(term)}"]
    for path in sorted({tamper.match.path for tamper in tampers} - {"*"}):
        options += ["-P", path]
    code, stdout, stderr, text, streams = _run(options, argv, cwd, env, timeout_s)
    found = lines(text)
    interpreter = Interpreter(cwd=cwd, mask=mask, wanted=frozenset(by_call), streams=streams, data_max=0)
    trace = interpreter.operations(found)
    firings = []
    kept = [line for line in found if line.name in by_call]
    for line, operation in zip(kept, trace, strict=False):
        index, tamper = by_call[line.name]
        term = tamper.rule.terms[0]
        if _INJECTED.search(line.result) or (term.verb == "kill" and not _is_over(line.result)):
            firings.append(Firing(tamper_index=index, operation=operation, verb=term.verb))
    return Traced(code=code, stdout=stdout, stderr=stderr, trace=tuple(trace), firings=tuple(firings))


def _is_over(result: str) -> bool:
    """Whether a call came back."""
    return re.match(r"= -?\d", result) is not None


def _action(term: Term) -> str:
    if term.verb == "raise":
        return f"error={term.exception.errno}"
    if term.verb == "kill":
        # With the error the call is not made, even if the signal should come a moment too late.
        return "error=EINTR:signal=KILL"
    return f"delay_enter={round(term.duration_s * 1e6)}"


def _when(term: Term) -> str:
    if term.first is None:
        return f":when=1..{term.times}" if term.times is not None else ""
    if term.times is not None:
        return f":when={term.first}..{term.first + term.times - 1}"
    return f":when={term.first}" + {0: "", 1: "+"}.get(term.step, f"+{term.step}")


def _run(
    options: list[str], argv: Sequence[str | bytes], cwd: str, env: Mapping[str, str] | None, timeout_s: float
) -> tuple[int, bytes, bytes, list[str], dict[str, str]]:
    """(status, stdout, stderr, strace's lines, names of the streams)"""
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    streams = stream_names(None, out_end, err_end)
    with tempfile.TemporaryDirectory(prefix="blackstart-strace-") as folder:
        log = Path(folder, "log")
        command = [program(), "-f", "-qq", "-xx", "-y", "-X", "raw", "-e", "signal=none", "-o", str(log)]
        started = subprocess.Popen(
            [*command, *options, "--", *argv], cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out_end,
            stderr=err_end, start_new_session=True,
        )  # fmt: skip
        os.close(out_end)
        os.close(err_end)
        try:
            stdout, stderr = _collect((out, err), SYSTEM.monotonic() + timeout_s)
        finally:
            if not _ends(started):
                os.killpg(started.pid, signal.SIGKILL)
            code = started.wait()
        text = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return code, stdout, stderr, text, streams


def _ends(started: subprocess.Popen[bytes]) -> bool:
    """Whether it ends by itself within a moment after its output did."""
    try:
        started.wait(2)
    except subprocess.TimeoutExpired:
        return False
    return True


def _collect(descriptors: tuple[int, int], deadline_s: float) -> tuple[bytes, bytes]:
    """What both pipes give until they end; BlackstartError past the deadline."""
    found = dict.fromkeys(descriptors, b"")
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    still_open = set(descriptors)
    try:
        while still_open:
            left_s = deadline_s - SYSTEM.monotonic()
            if left_s <= 0:
                raise BlackstartError("the program under strace did not end in time", next_step="give it more time")
            for descriptor, _ in poll.poll(left_s * 1000):
                piece = os.read(descriptor, 65536)
                found[descriptor] += piece
                if not piece:
                    poll.unregister(descriptor)
                    still_open.discard(descriptor)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    return found[descriptors[0]], found[descriptors[1]]

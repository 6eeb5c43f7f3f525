"""What was executed is told from what was only looked for along PATH."""

from __future__ import annotations

from blackstart.core.trace import Operation
from blackstart.surface import surface


def test_a_program_that_is_looked_for_is_named_where_it_is() -> None:
    calls = [
        (1, "execve", "/bin/sh"), (1, "openat", "/lib/libc.so"), (2, "execve", "/usr/local/bin/uname"),
        (1, "wait4", ""), (2, "execve", "/usr/bin/uname"), (2, "openat", "/lib/libc.so"), (3, "execve", "/usr/bin/env"),
        (3, "openat", "/lib/libc.so"), (3, "execve", "/usr/bin/uname"),
    ]  # fmt: skip
    trace = [
        Operation(index=index, call=call, path=path, process=thread, thread=thread)
        for index, (thread, call, path) in enumerate(calls)
    ]
    assert surface([trace], {}, {}).programs == ("/bin/sh", "/usr/bin/uname", "/usr/bin/env")

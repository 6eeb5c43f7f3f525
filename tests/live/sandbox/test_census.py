"""Who lives: a process that is on its way out does not."""

import mmap
import os
import time

from blackstart.sandbox import census

DEADLINE_S = 30


def test_a_process_that_gives_its_memory_back_lives_no_more() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        much = mmap.mmap(-1, 256 << 20)  # giving it back takes a while in which the process has no command any more
        for page in range(0, len(much), mmap.PAGESIZE):
            much[page] = 1
        os.write(writer, b".")
        os._exit(0)
    try:
        os.read(reader, 1)
        seen = []
        end_s = time.monotonic() + DEADLINE_S
        while not os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            seen += census.processes(os.getpid())
            assert time.monotonic() < end_s
    finally:
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    assert "" not in [process.command for process in seen if process.outer_pid == child]

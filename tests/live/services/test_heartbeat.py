"""A beat that ends with the first error, in runtimes that look busy while they idle.

asyncio answers whoever asks whether it is ready, and Go's monitor waits for a minute at a time.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.programs.running import PYTHON, Ran, run
from tests.twins.making import compiled

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

ASYNCIO = """
import asyncio
import sys
import time

async def beat():
    while True:
        try:
            with open("beat", "w") as file:
                file.write(str(time.time()))
        except OSError as error:
            print("beat:", error, file=sys.stderr, flush=True)
            {}
        await asyncio.sleep(0.2)

async def serve(reader, writer):
    writer.close()

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 8123)
    task = asyncio.create_task(beat())
    await server.serve_forever()

asyncio.run(main())
"""
GO = """
package main

import ("net"; "os"; "time")

func beat() {
	for {
		if err := os.WriteFile("beat", []byte(time.Now().String()), 0o644); err != nil {
			println("beat:", err.Error())
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func main() {
	go beat()
	listener, _ := net.Listen("tcp", "127.0.0.1:8123")
	for {
		if one, err := listener.Accept(); err == nil {
			one.Close()
		}
	}
}
"""


def beating(place: Path, *command: str) -> Ran:
    options = ("--ready", "tcp:8123", "--only", "errno", "--trials", "2", "--seed", "5")
    return run([*command], place, *options, timeout_s=500)


@pytest.mark.parametrize("after_error, found", [("return", ["dead"]), ("pass", [])])
def test_a_task_that_ends_with_an_error_is_dead_though_its_loop_answers(
    after_error: str, found: list[str], tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text(ASYNCIO.format(after_error))
    ran = beating(tmp_path, PYTHON, "app.py")
    assert [one["consequence"] for one in ran.defects] == found and ran.status == len(found), ran.said()


@pytest.mark.needs("go")
def test_a_goroutine_that_ends_with_an_error_is_dead_though_the_runtime_still_waits(tmp_path: Path) -> None:
    (tmp_path / "beating.go").write_text(GO)
    program = compiled(tmp_path / "beating.go")
    (tmp_path / "work").mkdir()
    ran = beating(tmp_path / "work", str(program))
    assert [one["consequence"] for one in ran.defects] == ["dead"] and ran.status == 1, ran.said()

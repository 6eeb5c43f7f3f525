"""The twins' programs: where they are, how they are compiled, and how each is started.

Compiled ones go to a cache keyed by their source, so that twenty rounds compile once. No network is needed: the Go
programs use the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
CONSEQUENCES = ("lost", "corrupt", "stuck", "silent", "hung", "spinning", "dead", "crashed", "leaked", "unclean")
# The services among them, by the line with which each says that it is up.
UP = {"dead": "ready", "unclean": "open"}
LANGUAGES = {"py": "", "c": "gcc", "go": "go", "sh": ""}
BOOK = "deliveries.json"


def missing(language: str) -> str:
    """Why programs of this language cannot be run here; empty if they can."""
    compiler = LANGUAGES[language]
    return f"needs {compiler} (not installed)" if compiler and not shutil.which(compiler) else ""


def compiled(source: Path) -> Path:
    """The program made from a C or Go source."""
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    cache = Path(tempfile.gettempdir()) / f"blackstart-twins-{os.getuid()}"
    cache.mkdir(mode=0o755, exist_ok=True)
    program = cache / f"{source.stem}-{source.suffix[1:]}-{key}"
    if program.exists():
        return program
    fresh = program.with_suffix(f".{os.getpid()}")
    if source.suffix == ".c":
        command = ["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-o", str(fresh), str(source)]
        environment = dict(os.environ)
    else:
        command = ["go", "build", "-o", str(fresh), str(source)]
        offline = {"CGO_ENABLED": "0", "GO111MODULE": "off", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOPROXY": "off"}
        environment = {**os.environ, **offline, "GOCACHE": str(cache / "go")}
    subprocess.run(command, check=True, env=environment, timeout=300)
    fresh.rename(program)
    return program


def command(source: Path) -> list[str]:
    """How the program of this source is started."""
    if source.suffix == ".py":
        return [sys.executable, str(source)]
    if source.suffix == ".sh":
        return ["/bin/sh", str(source)]
    return [str(compiled(source))]


def twin(consequence: str, side: str, language: str) -> Path:
    return PROGRAMS / f"{consequence}_{side}.{language}"


def book(count: int) -> bytes:
    """A book with so many deliveries, as the programs write it."""
    return ("[\n" + ",\n".join(f'"delivery {number}"' for number in range(1, count + 1)) + "\n]\n").encode()

"""What each file is to the program: measured from traces, images and deletion trials, never guessed by name.

The traces say who is only read, only written, appended to, made and removed; a deletion trial (a re-run without the
file) tells state, on which answers depend, from a cache, which is rebuilt with equal content. Where neither decides,
the role with the stricter judgement is taken only if the file was seen to be read back: `state`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from blackstart.core.calibration import CleanRun
from blackstart.core.installed import INSTALLED
from blackstart.core.masking import CWD, HOME, Masker, same
from blackstart.core.reading import FileState, Image
from blackstart.core.trace import DIRECTORY, OPENING, Operation
from blackstart.surface.moment import Moment, spans

_READS = ("read", "pread64", "readv", "preadv", "preadv2")
_SYSTEM = (*INSTALLED, "/etc/", "/opt/", "/proc/", "/sys/", "/dev/")
_CODE = (".py", ".pyc", ".so", ".jar", ".class", ".rb", ".js", ".mjs", ".cjs", ".pl", ".pm", ".sh", ".bash", ".lua",
         ".tcl", ".php", ".awk")  # fmt: skip
_CODE_PLACES = ("/__pycache__/", "/site-packages/", "/dist-packages/", "/node_modules/", "/pyvenv.cfg")
# By the Base Directory Specification and the File System Hierarchy what lies there can be made again.
_CACHES = (f"{HOME}/.cache/", "/var/cache/")
_NOT_FILES = ("/dev/", "/proc/", "/sys/")
_PROGRAM_FOLDER = re.compile(r"^(?P<prefix>.*[^/])/(?:bin|sbin|libexec|shims)/[^/]+$")
_DATA_FOLDERS = ("share/", "state/", "etc/", "var/", "cache/")


class Use(msgspec.Struct, kw_only=True):
    """How a masked path was used, over all clean runs."""

    read: bool = False
    opened: bool = False
    written: bool = False
    filled: bool = False
    rewritten: bool = False
    holds_pid: bool = False
    appended: bool = False
    exclusive: bool = False
    locked: bool = False
    truncated: bool = False
    moved_away: bool = False
    moved_onto: bool = False
    removed: bool = False
    executed: bool = False
    is_directory: bool = False
    sources: set[str] = msgspec.field(default_factory=set)


class Deletion(msgspec.Struct, frozen=True, kw_only=True):
    """What a re-run without the file, or without the folder that it stands in, showed."""

    path: str
    answers_changed: bool
    answers_could_differ: bool
    rebuilt_equal: bool


def uses(traces: Iterable[Sequence[Operation]], masker: Masker | None) -> dict[str, Use]:
    """How each masked path was used; without a masker, by the masked paths that the operations carry."""
    found: dict[str, Use] = {}
    for trace in traces:
        for operation in trace:
            if operation.path == "stdout":
                found.setdefault("stdout", Use()).filled = True
            name = operation.masked
            if operation.path.startswith("/"):
                name = masker(operation.path) if masker else operation.masked or operation.path
                _note(found.setdefault(name, Use()), operation)
            if operation.path2.startswith("/"):
                onto = found.setdefault(masker(operation.path2) if masker else operation.path2, Use())
                if operation.call.startswith(("rename", "link")):
                    onto.moved_onto = onto.written = True
                    onto.sources.add(name)
    return found


def _note(use: Use, operation: Operation) -> None:
    call, flags = operation.call, operation.flags
    use.is_directory = (
        use.is_directory or operation.kind == DIRECTORY or (call in OPENING and flags & os.O_DIRECTORY != 0)
    )
    if call in OPENING:
        if flags & os.O_ACCMODE or call == "creat":
            use.written = use.written or call == "creat" or bool(flags & (os.O_CREAT | os.O_TRUNC))
            # Whoever makes it, and only if it is not there, has nothing to read in it and nothing to write over.
            is_new = flags & os.O_CREAT and flags & os.O_EXCL
            use.opened = use.opened or bool(flags & os.O_RDWR and not flags & os.O_TRUNC and not is_new)
            use.exclusive = use.exclusive or bool(flags & os.O_EXCL)
            use.appended = use.appended or bool(flags & os.O_APPEND)
            use.truncated = use.truncated or call == "creat" or bool(flags & os.O_TRUNC)
            use.rewritten = use.rewritten or not (flags & os.O_APPEND or is_new)
        else:
            use.opened = use.opened or not flags & (os.O_DIRECTORY | os.O_PATH)
    elif call == "mmap":  # only shared, writable mappings of files are seen; what is stored there is not
        use.read = use.written = use.filled = use.rewritten = True
    elif call in _READS:
        use.read = True
    elif call.startswith("exec"):
        use.executed = True
    elif call in ("flock", "lockf"):
        use.locked = True
    elif call.startswith("rename"):
        use.moved_away = True
    elif call.startswith(("unlink", "rmdir")):
        use.removed = True
    elif call.startswith("mkdir"):
        use.is_directory = use.exclusive = True
    elif call.startswith(("truncate", "ftruncate")):
        use.truncated = use.written = True
    elif operation.changes:
        use.written = True
        use.filled = use.filled or operation.size != 0
        use.holds_pid = use.holds_pid or operation.data.strip() == str(operation.process).encode()


def roles(
    traces: Iterable[Sequence[Operation]],
    images: Sequence[Image],
    deletions: Mapping[str, Deletion],
    masker: Masker,
    *,
    arguments: Iterable[str] = (),
    scripts: Iterable[str] = (),
    moments: Sequence[Moment] = (),
) -> dict[str, str]:
    """Masked path -> role, for every file that was used.

    images: S0, S1, … of the chain, unmasked; arguments: absolute paths on the command line (the program and its
    parts among them are recognised because they are executed, or are code and only read); scripts: those of them
    that are known to be programs for an interpreter; moments: when the run from each image but the last took place.
    """
    stood = [masker.image(image) for image in images]
    found = {}
    used, named = uses(traces, masker), {masker(path) for path in arguments}
    programs = {masker(path) for path in scripts}
    installed = _installations(used)
    for path in sorted(used.keys() - {"stdout"}):
        use, states = used[path], [image.get(path) for image in stood]
        if path.startswith(_NOT_FILES) or (not any(states) and _is_folder(use)):
            continue
        kinds = {state.kind for state in states if state is not None}
        if kinds - {"file"} and kinds != {"link"} and not _is_lock(use, states):
            continue
        role = _role(path, use, [state is not None for state in states], deletions.get(path), used)
        if "link" in kinds:  # all that can be known of it is where it leads
            role = {"state": "output", "cache": "output", "log": "output", "config": "", "install": ""}.get(role, role)
        if role == "config" and (
            path in programs or _is_installed(path, installed) or (path in named and _is_script(states))
        ):
            role = "install"
        if role:
            found[path] = role
    found = _with_product(found, used, lambda path: _holds_records(path, images, moments, masker))
    return _with_accounts(found, used, lambda path: _is_account(path, images, moments, masker))


def _is_folder(use: Use) -> bool:
    """Whether it was only looked into (opening a file as a folder, as some tools do to make sure, proves nothing)."""
    return use.is_directory and not (use.read or use.filled or use.exclusive or use.moved_onto or use.moved_away)


def _is_lock(use: Use, states: Sequence[object]) -> bool:
    """Made exclusively (a directory too), locked, or holding the own pid; gone after a clean end."""
    # What is renamed is kept under another name: a number in it is no pid but the next value of a counter.
    is_made = (use.exclusive or use.holds_pid) and not use.moved_away
    return states[-1] is None and (is_made or use.locked)


def _role(path: str, use: Use, stood: Sequence[bool], deletion: Deletion | None, used: Mapping[str, Use]) -> str:
    if "/__pycache__/" in path:
        return "install"  # the interpreter's own, whoever writes it
    is_read = use.read or (use.opened and any(stood))
    if not (use.written or use.moved_onto or use.moved_away or use.removed):
        if not is_read and not use.executed:
            return ""  # nobody looked at it, or it was looked for in vain
        return "install" if use.executed or _is_code(path) else "config"
    if "*" not in path and _is_lock(use, [True if there else None for there in stood]):
        return "lock"
    if use.locked and not use.filled and not use.moved_onto:
        return "lock"  # it stays, but never holds anything
    if not any(stood):
        return "scratch" if use.written or use.moved_onto or use.moved_away else ""
    if _is_log(use) or _was_log(path, used, frozenset()):
        return "log"
    if path.startswith(_CACHES) and not (deletion and deletion.answers_changed):
        return "cache"
    if deletion and not deletion.answers_changed and deletion.answers_could_differ and deletion.rebuilt_equal:
        return "cache"
    return "state" if is_read else "output"


def _is_log(use: Use) -> bool:
    return use.appended and not (use.rewritten or use.truncated or use.moved_onto or use.read or use.opened)


def _was_log(path: str, used: Mapping[str, Use], passed: frozenset[str]) -> bool:
    """Whether all that was renamed to it was a log, by whatever names it went in between."""
    sources = used[path].sources - passed
    return bool(sources) and all(
        _is_log(used.get(source, Use())) or (source in used and _was_log(source, used, passed | {path}))
        for source in sources
    )


def _is_script(states: Sequence[FileState | None]) -> bool:
    """Whether a file named on the command line is a program for an interpreter: executable, or it begins with `#!`."""
    for state in states:
        if state is not None:
            first = dict(state.content.leaves).get("1", "") if state.content else ""
            return bool(state.mode & 0o111) or first.startswith("#!")
    return False


def _installations(used: Mapping[str, Use]) -> tuple[str, ...]:
    """Folders that hold a `bin` (or the like) from which something was executed."""
    found = (_PROGRAM_FOLDER.match(path) for path, use in used.items() if use.executed)
    return tuple({f"{match['prefix']}/" for match in found if match and match["prefix"] not in (CWD, HOME)})


def _is_installed(path: str, installations: tuple[str, ...]) -> bool:
    return any(path.startswith(top) and not path[len(top) :].startswith(_DATA_FOLDERS) for top in installations)


def _is_code(path: str) -> bool:
    return path.startswith(_SYSTEM) or path.endswith(_CODE) or ".so." in path or any(p in path for p in _CODE_PLACES)


def _with_product(found: dict[str, str], used: Mapping[str, Use], records: Callable[[str], bool]) -> dict[str, str]:
    """What is appended to is an output where it is all that the job makes: the only file, nothing being told on stdout
    either; or, where something is told there, a file of records and no account of what happened when. What the job
    only takes away (a queue of tasks) it does not make; beside that, only a file of records is an output.
    """
    logs = [path for path, role in found.items() if role == "log"]
    kept = {path for path, role in found.items() if role in ("state", "output", "cache")}
    eaten = {path for path in kept if used[path].removed and not (used[path].written or used[path].moved_onto)}
    if kept - eaten:
        return found
    is_only = len(logs) == 1 and not eaten and not used.get("stdout", Use()).filled
    return {**found, **{path: "output" for path in logs if is_only or records(path)}}


def _with_accounts(found: dict[str, str], used: Mapping[str, Use], is_account: Callable[[str], bool]) -> dict[str, str]:
    """Beside what the program keeps, a text that it never reads, each line of which tells the moment of its writing, is
    a log, though each run begins it anew; and so is what such a one was renamed to.
    """
    if "state" not in found.values():
        return found
    logs = {path for path, role in found.items() if role == "log" or (role == "output" and is_account(path))}
    sources = {path: used[path].sources for path, role in found.items() if role == "output"}
    logs |= {path for path, named in sources.items() if named and named <= logs}
    return {**found, **dict.fromkeys(logs, "log")}


def _holds_records(path: str, images: Sequence[Image], moments: Sequence[Moment], masker: Masker) -> bool:
    """Whether most of what the runs appended says nothing of its moment, or stands in columns."""
    forms, told, lines = _new_lines(path, images, moments, masker)
    return "csv" in forms or ("" not in forms and lines > 2 * told)


def _is_account(path: str, images: Sequence[Image], moments: Sequence[Moment], masker: Masker) -> bool:
    """Whether it is text, and all of what the runs wrote tells its moment."""
    forms, told, lines = _new_lines(path, images, moments, masker)
    return forms == {"text"} and lines == told > 0


def _new_lines(
    path: str, images: Sequence[Image], moments: Sequence[Moment], masker: Masker
) -> tuple[set[str], int, int]:
    """(forms of the content, how many new lines tell the moment of their run, how many there are)."""
    forms, told, lines = set(), 0, 0
    for before, after, moment in zip(images, images[1:], moments, strict=False):
        for place in (place for place in after if masker(place) == path):
            content, old = after[place].content, before.get(place)
            if content is None or not content.leaves:
                forms.add("")
                continue
            forms.add(content.form)
            known = {value for _, value in old.content.leaves} if old is not None and old.content else set()
            new = [value for _, value in content.leaves if value not in known]
            told += sum(bool(spans(value, moment)) for value in new)
            lines += len(new)
    return forms, told, lines


def deletion_candidates(found: Mapping[str, str], last: Image, limit: int = 20) -> tuple[str, ...]:
    """Masked paths for which only a deletion trial tells state from cache, of files that stand at the end."""
    return tuple(path for path, role in found.items() if role == "state" and path in last)[:limit]


def judge_deletion(
    path: str, clean: CleanRun, *, code: int, stdout: str, check: str, files: Image, stderr: str = ""
) -> Deletion:
    """Compare a re-run without `path`, a file or a folder, with the clean re-run from the same state (values masked).

    Answers are exit status, stdout, `--check`, and the other files that the run wrote. Messages on stderr and in logs
    are none: a program may say that it rebuilds its cache.
    """
    logs = {p for p, use in uses([clean.trace], None).items() if _is_log(use)}
    answers = ((clean.stdout, stdout), (clean.check.partition("\n")[2], check.partition("\n")[2]))
    known = clean.files.keys() | files.keys()
    deleted = {path, *(p for p in known if p.startswith(f"{path}/"))}
    others = known - logs - deleted
    changed = clean.code != code or clean.check != check or any(expected != seen for expected, seen in answers)
    changed = changed or any(not same(clean.files.get(p), files.get(p)) for p in others)
    could_differ = any(expected.strip(" \n*") for expected, _ in answers)
    could_differ = could_differ or any(len(clean.versions.get(p, ())) > 1 for p in others)
    return Deletion(
        path=path,
        answers_changed=changed,
        answers_could_differ=could_differ,
        rebuilt_equal=all(same(clean.files.get(p), files.get(p)) for p in deleted),
    )

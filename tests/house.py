"""The house rules as functions over a tree of files; each gives its violations as lines `path:line: what to do`.

`tests/test_house.py` runs them over this repository, `tests/unit/house/test_checker.py` over small fake trees, so that
the checker itself is tested. A rule that bans something names what to use instead. Source is read by `ast`, never
imported: a module that breaks at import can still be judged.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

FUNCTION_LINES, MODULE_LINES = 50, 400
# A module that must be longer says so where its reader begins.
_LONGER = re.compile(r"longer than \d+ lines[^.]*\bbecause\b", re.IGNORECASE)
# A module that is reached from no entry point says so in the same place.
_TESTS_ONLY = re.compile(r"^Only tests use this: \S", re.MULTILINE)

_MECHANISMS = "targets sandbox gate guard power inprocess proxy lab".split()
_MIDDLE = "faults probes oracles surface catalogue criteria store".split()
_UPPER = "trials findings report campaign audit".split()
# Who may import whom. A package that is not here has no place in the house yet: give it one in the design first.
MAY_IMPORT: dict[str, frozenset[str]] = {
    name: frozenset(allowed)
    for name, allowed in {
        "core": [],
        "sandbox": ["core"],
        "gate": ["core", "sandbox"],
        "targets": ["core", "sandbox", "gate"],
        "guard": ["core"],
        "power": ["core"],
        "inprocess": ["core"],
        "proxy": ["core"],
        "lab": ["core", "sandbox"],
        "faults": ["core", *_MECHANISMS],
        "probes": ["core", *_MECHANISMS],
        "oracles": ["core"],
        "surface": ["core"],
        "criteria": ["core"],
        "catalogue": ["core"],
        "store": ["core"],
        "trials": ["core", *_MECHANISMS, *_MIDDLE],
        "findings": ["core", "criteria"],
        "report": ["core", "store", "catalogue"],
        "campaign": ["core", *_MECHANISMS, *_MIDDLE, "trials", "findings", "report"],
        "audit": ["core", *_MECHANISMS, *_MIDDLE, "trials", "findings", "report"],
        "clock": ["core", "inprocess"],
        "testing": ["core", *_MECHANISMS, "faults"],
        "cli": ["core", *_MECHANISMS, *_MIDDLE, *_UPPER],
        "pytest_plugin": ["core", *_MECHANISMS, *_MIDDLE, *_UPPER, "testing", "clock"],
        "mcp": ["core", *_MECHANISMS, *_MIDDLE, *_UPPER],
        "__main__": ["cli"],
        "__init__": [],
    }.items()
}
# What comes from elsewhere; everybody may use the standard library and msgspec.
THIRD_PARTY = {
    "cli": {"typer", "click", "rich"},
    "report": {"rich", "jinja2", "markupsafe"},
    "probes": {"yaml"},
    "proxy": {"uvicorn", "uvloop"},
    "pytest_plugin": {"pytest", "_pytest"},
    "testing": {"hypothesis"},
}
# Pure packages judge values; these modules would let them look at the world.
PURE = frozenset({"oracles", "surface", "criteria", "findings"})
_IMPURE = frozenset("subprocess socket shutil tempfile pathlib ctypes select threading glob fcntl".split())
# Of `os`, what works on text alone.
_PURE_OS = re.compile(r"os(\.(path(\.(?!exists|is|get|real|abs)\w+)?|fsdecode|fsencode|O_\w+|sep|strerror))?")

# Banned name -> what to use instead. A name ending in `.` bans a whole module.
BANNED = {
    "time.sleep": "clock.sleep of blackstart.core.clock",
    "random.": "a source of blackstart.core.randomness",
    "secrets.": "a source of blackstart.core.randomness",
    "print": "the rich console of the command line",
    "input": "an option of the command line",
    "breakpoint": "a test",
    "eval": "ast.literal_eval, or a parser",
    "exec": "a function",
    "os.system": "a list of arguments, no shell",
    "os.popen": "a list of arguments, no shell",
    "pickle.": "msgspec; the bytes may come from a broken program",
    "marshal.": "msgspec; the bytes may come from a broken program",
    "shelve.": "msgspec; the bytes may come from a broken program",
    "tempfile.mktemp": "tempfile.mkdtemp",
    "yaml.load": "yaml.safe_load",
    "yaml.unsafe_load": "yaml.safe_load",
}
# The one module that wraps what it bans for all others.
WRAPPERS = {"core/clock.py": {"time.sleep"}, "core/randomness.py": {"random."}}

# Programs that people break with this tool. Nothing in src may know one of them.
PROGRAMS = (
    "tinydb pickledb redis valkey postgres postgresql mysql mariadb mongodb leveldb lmdb rocksdb etcd zookeeper kafka "
    "rabbitmq mosquitto nginx apache haproxy memcached mosh apscheduler sqlalchemy pymodbus aiohttp django flask"
).split()
_LEFTOVER = re.compile(r"\b(FIXME|TODO|XXX|HACK)\b")


@dataclass
class Module:
    """One Python file: where it is, what it is called, its text and its tree."""

    path: Path
    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @property
    def package(self) -> str:
        """The first name below blackstart: `gate` of blackstart.gate.calls; `__init__` of blackstart itself."""
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else "__init__"

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"


@dataclass
class Import:
    """One imported name, absolute: `blackstart.core.rule.parse` or `os.path`; module: what stands after `from`."""

    name: str
    module: str
    line: int


@dataclass
class Tree:
    """A repository: its root, and its Python modules by name."""

    root: Path
    modules: dict[str, Module] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Tree:
        """All modules below root/src."""
        tree = cls(root)
        for path in sorted((root / "src").rglob("*.py")):
            parts = list(path.relative_to(root / "src").with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree.modules[name] = Module(path, name, path.read_text(encoding="utf-8"))
        return tree

    def at(self, module: Module, line: int) -> str:
        """`path:line`, as editors jump to it."""
        return f"{module.path.relative_to(self.root)}:{line}"


def imports_of(module: Module) -> Iterator[Import]:
    """Every import of a module, inside functions too, with relative ones made absolute."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.name.split(".")
                parts = parts[: len(parts) - node.level + module.is_package]
                base = ".".join([*parts, base] if base else parts)
            for alias in node.names:
                yield Import(f"{base}.{alias.name}", base, node.lineno)


def import_violations(tree: Tree) -> list[str]:
    """Imports that the table of the house does not allow."""
    found = []
    for module in tree.modules.values():
        allowed = MAY_IMPORT.get(module.package)
        if allowed is None:
            found.append(f"{tree.at(module, 1)}: package {module.package} has no row in the table of imports")
            continue
        for one in imports_of(module):
            top, _, rest = one.name.partition(".")
            if top != "blackstart":
                known = {"msgspec", *THIRD_PARTY.get(module.package, ())}
                if top not in sys.stdlib_module_names and top not in known:
                    found.append(f"{tree.at(module, one.line)}: {module.package} may not use {top}")
            elif (wanted := rest.partition(".")[0]) and f"blackstart.{wanted}" in tree.modules:
                if wanted != module.package and wanted not in allowed:
                    may = ", ".join(sorted(allowed)) or "nothing of the house"
                    found.append(
                        f"{tree.at(module, one.line)}: {module.package} may not import {wanted} (it may import: {may})"
                    )
    return found


def purity_violations(tree: Tree) -> list[str]:
    """Packages that judge values, and look at the world all the same."""
    found = []
    for module in tree.modules.values():
        if module.package not in PURE:
            continue
        for name, line in _names_used(module):
            top = name.partition(".")[0]
            if top in _IMPURE or name == "open" or (top == "os" and not _PURE_OS.fullmatch(name)):
                found.append(f"{tree.at(module, line)}: {module.package} is pure: {name} → let a probe ask")
    return found


def size_violations(tree: Tree) -> list[str]:
    """Functions and modules that are too long to be read at once."""
    found = []
    for module in tree.modules.values():
        lines = module.text.count("\n")
        if lines > MODULE_LINES and not _LONGER.search(" ".join((ast.get_docstring(module.tree) or "").split())):
            found.append(
                f"{tree.at(module, 1)}: {lines} lines; split it, or open with "
                f"'Longer than {MODULE_LINES} lines, because ...'"
            )
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(
                        f"{tree.at(module, node.lineno)}: {node.name} has {length} lines, at most {FUNCTION_LINES}"
                    )
    return found


def banned_violations(tree: Tree) -> list[str]:
    """Names that have a better replacement, and leftovers."""
    found = []
    for module in tree.modules.values():
        excused = WRAPPERS.get("/".join(module.path.relative_to(tree.root / "src" / "blackstart").parts), set())
        for name, line in _names_used(module):
            rule = _rule_for(name)
            if rule and rule not in excused:
                found.append(f"{tree.at(module, line)}: {name} → {BANNED[rule]}")
        for node in ast.walk(module.tree):
            if isinstance(node, ast.keyword) and node.arg == "shell":
                if not (isinstance(node.value, ast.Constant) and node.value.value is False):
                    found.append(f"{tree.at(module, node.value.lineno)}: shell= → a list of arguments, no shell")
        for number, line_text in enumerate(module.text.splitlines(), 1):
            if leftover := _LEFTOVER.search(line_text):
                found.append(f"{tree.at(module, number)}: {leftover[0]} → do it, or write an issue")
    return found


def _rule_for(name: str) -> str | None:
    whole = name.partition(".")[0] + "."
    return name if name in BANNED else whole if whole in BANNED else None


def _names_used(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names that a module uses, with its import aliases resolved."""
    aliases: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = alias.name
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield f"{node.module}.{alias.name}", node.lineno
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            first, dot, rest = ast.unparse(node).partition(".")
            if first in aliases and rest.replace(".", "").isidentifier():
                yield f"{aliases[first]}{dot}{rest}", node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in aliases:
            yield node.func.id, node.lineno


def program_violations(tree: Tree, programs: Iterable[str] = PROGRAMS) -> list[str]:
    """Names of programs in src: nothing is special-cased."""
    pattern = re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, programs))})(?![\w])", re.IGNORECASE)
    return [
        f"{tree.at(module, number)}: {found[0]!r} is a program's name; say what property of it matters"
        for module in tree.modules.values()
        for number, line in enumerate(module.text.splitlines(), 1)
        for found in [pattern.search(line)]
        if found
    ]


def docstring_violations(tree: Tree) -> list[str]:
    """Public things that do not say what they are. Three statements explain themselves; more do not.

    A method that a documented Protocol of the tree asks for needs no second text; nor does `close`.
    """
    found = []
    known = {"close"} | {
        method.name
        for module in tree.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef) and "Protocol" in {ast.unparse(base) for base in node.bases}
        if ast.get_docstring(node)
        for method in node.body
        if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for module in tree.modules.values():
        if module.text.strip() and not ast.get_docstring(module.tree):
            found.append(f"{tree.at(module, 1)}: a module opens with its idea")
        for node in _public(module.tree.body):
            if ast.get_docstring(node):
                continue
            if isinstance(node, ast.ClassDef):
                found.append(f"{tree.at(module, node.lineno)}: class {node.name} has no docstring")
            elif len(node.body) > 3 and node.name not in known:
                found.append(f"{tree.at(module, node.lineno)}: {node.name} has no docstring")
    return found


def _public(body: Iterable[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body)


def dead_modules(tree: Tree, roots: Iterable[str]) -> list[str]:
    """Modules that no root reaches, and that do not say why only tests use them."""
    reached: set[str] = set()
    marked = [name for name, module in tree.modules.items() if _TESTS_ONLY.search(module.text)]
    waiting = [name for root in [*roots, *marked] for name in _with_parents(root)]
    while waiting:
        name = waiting.pop()
        module = tree.modules.get(name)
        if module is None or name in reached:
            continue
        reached.add(name)
        for one in imports_of(module):
            waiting += [*_with_parents(one.module), *_with_parents(one.name)]
        # Late imports and helper processes name a module, or its file, by a string.
        beside = name if module.is_package else name.rpartition(".")[0]
        for text in _strings(module):
            named = f"{beside}.{text.removesuffix('.py')}" if text.endswith(".py") else text
            if named in tree.modules:
                waiting += _with_parents(named)
        if module.is_package and any(one.name.startswith("pkgutil") for one in imports_of(module)):
            waiting += [other for other in tree.modules if other.startswith(name + ".")]
    return [
        f"{tree.at(module, 1)}: nothing reaches it: use it, delete it, or open it with 'Only tests use this: why'"
        for name, module in tree.modules.items()
        if name not in reached and module.text
    ]


def _with_parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _strings(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.partition(":")[0]

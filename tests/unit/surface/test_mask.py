"""What differs between two clean runs is masked, and nothing else is."""

from __future__ import annotations

import json

import pytest

from blackstart.core.masking import Masker, same
from blackstart.core.reading import FileState
from blackstart.probes.content import read
from blackstart.surface import Moment, Observation, extend, learn, mask

CWD = "/w/project"


def file(path: str, data: bytes) -> FileState:
    content = read(data, path)
    return FileState(path=path, size=len(data), digest=content.digest, content=content)


def observation(files: dict[str, bytes], *, paths: tuple[str, ...] = (), **changes: object) -> Observation:
    image = {path: file(path, data) for path, data in files.items()}
    return Observation(image=image, paths=frozenset(paths), **changes)  # type: ignore[arg-type]


def learnt(one: Observation, other: Observation) -> Masker:
    return Masker(learn(one, other, cwd=CWD, home="/home/me"))


def names(one: tuple[str, ...], other: tuple[str, ...]) -> Masker:
    return learnt(observation({}, paths=one), observation({}, paths=other))


def test_the_working_directory_and_home_have_names() -> None:
    masker = names((), ())
    assert masker(f"{CWD}/a") == "$CWD/a"
    assert masker("/home/me/.config/a") == "$HOME/.config/a"
    assert masker("/w/project2/a") == "/w/project2/a"


def test_pids_dates_uuids_and_temporary_names_are_masked_where_they_differ() -> None:
    cases = [
        (f"{CWD}/app.1234.lock", f"{CWD}/app.987.lock", f"{CWD}/app.55555.lock", "$CWD/app.*.lock"),
        ("/tmp/tmpa1b2c3d4", "/tmp/tmpz9y8x7w6", "/tmp/tmpqqqqqqqq", "/tmp/tmp*"),
        ("/tmp/tmpa1b2c3dx.json", "/tmp/tmpa9y8x7wx.json", "/tmp/tmpqqqqqqqq.json", "/tmp/tmp*.json"),
        ("/d/01T10-11-12.log", "/d/01T10-11-59.log", "/d/01T10-11-33.log", "/d/01T10-11-*.log"),
        (
            "/d/0f8fad5b-d9cb-469f-a165-70867728950e",
            "/d/7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "/d/11111111-2222-3333-4444-555555555555",
            "/d/*",
        ),
        # Two digests in hexadecimal have their first letter in common by chance, once in 16 times.
        *(("/d/a1" + "b3" * half, "/d/a7" + "0c" * half, "/d/5e" + "11" * half, "/d/*") for half in (19, 31)),
        ("/d/log-2026-01-02_101112", "/d/log-2026-02-03_111213", "/d/log-2026-03-04_131415", "/d/log-2026-*"),
    ]
    for one, other, third, masked in cases:
        masker = names((one,), (other,))
        assert {masker(one), masker(other), masker(third)} == {masked}, one


def test_a_port_that_the_kernel_gave_is_masked_where_it_differs_and_a_chosen_one_is_not() -> None:
    of, other = "socket:inet:127.0.0.1", "socket:inet6:[::1]"
    masker = names((f"{of}:43751", f"{of}:8123", f"{other}:40001"), (f"{of}:35948", f"{of}:8125", f"{other}:40001"))
    assert {masker(f"{of}:{port}") for port in (43751, 35948, 32768, 60999)} == {f"{of}:*"}
    for path in (f"{of}:8123", f"{of}:8125", f"{of}:32767", f"{of}:61000", f"{other}:40001", f"{other}:43751"):
        assert masker(path) == path
    masker = names((f"{of}:43751", f"{of}:40001"), (f"{of}:35948", f"{of}:40001"))
    assert masker(f"{of}:43751") == f"{of}:43751"
    many = [tuple(f"{of}:{port}" for port in range(first, first + 50)) for first in (40000, 40049)]  # one by chance
    assert names(*many)(f"{of}:43751") == f"{of}:*"


def test_what_does_not_differ_is_not_masked() -> None:
    masker = names((f"{CWD}/data-17", "/sys/transparent_hugepage"), (f"{CWD}/data-17", "/sys/transparent_hugepage"))
    assert masker(f"{CWD}/data-17") == "$CWD/data-17"
    assert masker("/sys/transparent_hugepage") == "/sys/transparent_hugepage"


def test_a_rule_never_hides_a_stable_name() -> None:
    masker = names(("/d/abcdefgh", "/d/settings"), ("/d/zyxwvuts", "/d/settings"))
    assert masker("/d/settings") == "/d/settings"


def test_names_below_a_run_specific_directory_are_masked_with_it() -> None:
    masker = names(("/d/run-17/part-3", "/d/run-17/state"), ("/d/run-94/part-8", "/d/run-94/state"))
    assert masker("/d/run-17/state") == masker("/d/run-5/state") == "/d/run-*/state"
    assert masker("/d/run-1/part-44") == "/d/run-*/part-*"


def test_differing_leaves_are_masked_with_their_numbers_generalised() -> None:
    one = {"notes": [{"text": "a", "at": 1}, {"text": "b", "at": 2}], "version": 3}
    other = {"notes": [{"text": "a", "at": 7}, {"text": "b", "at": 8}], "version": 3}
    masker = learnt(*(observation({f"{CWD}/n.json": json.dumps(v).encode()}) for v in (one, other)))
    assert masker.mask.leaves == {"$CWD/n.json": ("/notes/*/at",)}
    third = {"notes": [{"text": "a", "at": 99}, {"text": "b", "at": 98}], "version": 3}
    states = [masker.state("$CWD/n.json", file("n.json", json.dumps(v).encode())) for v in (one, third)]
    assert same(*states)
    worse = {"notes": [{"text": "a", "at": 99}, {"text": "X", "at": 98}], "version": 3}
    assert not same(states[0], masker.state("$CWD/n.json", file("n.json", json.dumps(worse).encode())))


def test_run_specific_keys_are_masked_and_what_is_below_them_still_counts() -> None:
    one, other = ({key: {"text": "a"}, f"{key}x": {"text": "b"}} for key in ("k-1f", "k-9c"))
    masker = learnt(*(observation({"/d/n.json": json.dumps(v).encode()}) for v in (one, other)))
    assert not masker.mask.hopeless
    shown = [masker.state("/d/n.json", file("n.json", json.dumps(v).encode())) for v in (one, other)]
    assert same(*shown)
    less = masker.state("/d/n.json", file("n.json", json.dumps({"k-33": {"text": "a"}}).encode()))
    assert not same(shown[0], less)


def test_the_moment_of_the_run_is_masked_even_if_both_runs_fell_into_one_second() -> None:
    data = json.dumps({"saved": 1_700_000_000, "ms": 1_700_000_000_123, "count": 5}).encode()
    moment = Moment(began_s=1_699_999_999.5, ended_s=1_700_000_000.5)
    runs = [observation({"/d/n.json": data}, moment=moment) for _ in range(2)]
    assert learnt(*runs).mask.leaves == {"/d/n.json": ("/ms", "/saved")}


def test_what_the_run_did_not_make_does_not_tell_its_moment_though_it_looks_like_it() -> None:
    moment = Moment(began_s=1_700_002_860.0, ended_s=1_700_002_861.0)  # 23:01
    stood, grown = file(f"{CWD}/in-2301.txt", b"a"), file(f"{CWD}/log-2301.txt", b"a")
    paths = ("/usr/lib/libacl.so.1.1.2301", stood.path, grown.path, f"{CWD}/tmp-2301", "/usr/local/pump/new-2301")
    image = {f"{CWD}/log-2301.txt": b"ab", "/usr/local/pump/new-2301": b""}
    one = observation(image, paths=paths, moment=moment, before={path.path: path for path in (stood, grown)})
    one.image[stood.path] = stood
    masker = learnt(one, one)
    assert [masker(path) for path in paths[:2]] == ["/usr/lib/libacl.so.1.1.2301", "$CWD/in-2301.txt"]
    assert [masker(path) for path in paths[2:4]] == ["$CWD/log-*.txt", "$CWD/tmp-*"]
    assert masker(paths[4]) == "/usr/local/pump/new-*"


def test_a_leaf_that_only_one_run_has_is_left_out() -> None:
    texts = (b'{"a": 1}', b'{"a": 1, "slow": true}')
    masker = learnt(*(observation({"/d/n.json": text}) for text in texts))
    assert masker.mask.leaves == {"/d/n.json": ("!/slow",)} and not masker.mask.hopeless
    assert same(*(masker.state("/d/n.json", file("/d/n.json", text)) for text in texts))


def test_lines_that_differ_are_masked_token_by_token() -> None:
    texts = (b"begin\ntook 12 ms\n", b"begin\ntook 345 ms\n")
    masker = learnt(*(observation({}, stdout=text) for text in texts))
    assert masker.text("stdout", b"begin\ntook 7 ms\n") == "begin\ntook * ms\n"
    assert masker.text("stdout", b"begun\ntook 7 s\n") == "begun\ntook 7 s\n"
    assert masker.text("stderr", b"took 7 ms") == "took 7 ms"


def test_matching_a_line_takes_linear_time() -> None:
    one, other = (" ".join(f"{word}{n}" for n in range(300)) for word in ("a", "b"))
    masker = learnt(observation({}, stdout=one.encode()), observation({}, stdout=other.encode()))
    assert masker.text("stdout", other.encode()) == " ".join(["*"] * 300)
    assert "!" in masker.text("stdout", ("c " * 5000 + "!").encode())


def test_what_cannot_be_made_equal_is_hopeless() -> None:
    masker = learnt(
        observation({"/d/a.bin": b"\x00one", "/d/t.txt": b"1\n"}, stdout=b"a\nb\n"),
        observation({"/d/a.bin": b"\x00two\x01" * 9, "/d/t.txt": b"1\n2\n"}, stdout=b"a\n"),
    )
    assert masker.mask.hopeless == {"/d/a.bin", "/d/t.txt", "stdout"}


def test_a_pattern_that_would_hide_the_programs_other_messages_makes_the_stream_hopeless() -> None:
    one, other = (
        observation({}, stderr=b"gpg: box made\n" + text + b"\n")
        for text in (b"gpg: key 17AB trusted", b"gpg: folder '/a/b' made")
    )
    assert learn(one, other, cwd=CWD, home="/home/me").hopeless == {"stderr"}
    took = [observation({}, stderr=b"made\ntook " + text + b"\n") for text in (b"1.5 s", b"about a minute")]
    assert learn(*took, cwd=CWD, home="/home/me").hopeless == frozenset()


def test_what_has_no_name_is_called_so_whatever_its_number() -> None:
    masker = names((), ())
    assert masker("/memfd:stdin (deleted)") == "stdin"
    assert masker("/tmp/#138 (deleted)") == masker("/tmp/#2 (deleted)") == "/tmp/(nameless)"


def test_a_file_of_one_run_only_is_hopeless() -> None:
    assert learnt(observation({"/d/a": b"1"}), observation({})).mask.hopeless == {"/d/a"}


def test_a_mask_grows_by_further_runs() -> None:
    first, second = observation({"/d/n.json": b'{"a": 1, "b": 1}'}), observation({"/d/n.json": b'{"a": 2, "b": 1}'})
    third = observation({"/d/n.json": b'{"a": 2, "b": 5}'})
    mask = extend(learn(first, second, cwd=CWD, home=""), second, third)
    assert mask.leaves == {"/d/n.json": ("/a", "/b")} and not mask.hopeless


def test_files_with_one_masked_name_are_numbered() -> None:
    masker = names(("/d/p-1",), ("/d/p-2",))
    image = {path: file(path, path.encode()) for path in ("/d/p-1", "/d/p-2")}
    assert set(masker.image(image)) == {"/d/p-*", "/d/p-* (2)"}


def test_ten_thousand_names_are_masked_at_once() -> None:
    runs = [tuple(f"/d/part-{n + shift}" for n in range(10_000)) for shift in (0, 20_000)]
    masker = names(*runs)
    assert {masker(path) for path in runs[0]} == {"/d/part-*"}
    assert len(masker.mask.names) < 10


def test_a_file_that_neither_run_touched_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {f"/d/record-{n}": file(f"/d/record-{n}", b"kept\n") for n in range(100)}
    runs = [
        Observation(image={**many, "/d/log": file("/d/log", b"run %d\n" % n)}, before=dict(many), paths=frozenset())
        for n in (17, 9_845)
    ]
    compared: list[str] = []
    real = mask._file_patterns

    def counted(one: FileState | None, *others: object) -> object:
        compared.append(one.path if one is not None else "")
        return real(one, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(mask, "_file_patterns", counted)
    learned = learn(*runs, cwd=CWD, home="/home/me")
    assert compared == ["/d/log"]
    assert set(learned.lines) == {"/d/log"} and not learned.hopeless

"""Masking is idempotent, and makes the runs equal from which it was learnt."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blackstart.core.calibration import Mask
from blackstart.core.masking import Masker, rooted, same
from blackstart.core.reading import FileState, Image
from blackstart.probes.content import read
from blackstart.surface import Observation, learn

# Other work on the machine must not fail a property.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

segments = st.text("ab01-_.*", min_size=1, max_size=9).filter(lambda text: text.strip(".") != "")
paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc01 *", max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab1/*", max_size=4), inner, max_size=4),
    max_leaves=12,
)
lines = st.lists(st.text("ab 12*:", max_size=8), max_size=6).map("\n".join)
contents = st.one_of(values.map(lambda value: ("json", json.dumps(value))), lines.map(lambda text: ("txt", text)))


def image(files: dict[str, tuple[str, str]]) -> Image:
    result: Image = {}
    for path, (suffix, text) in files.items():
        data = text.encode()
        content = read(data, f"{path}.{suffix}")
        result[f"{path}.{suffix}"] = FileState(
            path=path, size=len(data), mode=0o644, digest=content.digest, content=content
        )
    return result


images = st.dictionaries(paths, contents, max_size=4).map(image)
observations = st.builds(
    Observation,
    image=images,
    paths=st.frozensets(paths, max_size=6),
    stdout=lines.map(str.encode),
    stderr=lines.map(str.encode),
)


def masker_of(one: Observation, other: Observation) -> Masker:
    return Masker(learn(one, other, cwd="/a", home="/b"))


@unhurried
@given(observations, observations, observations)
def test_masking_twice_is_masking_once(one: Observation, other: Observation, third: Observation) -> None:
    masker = masker_of(one, other)
    for run in (one, other, third):
        for path in (*run.paths, *run.image):
            assert masker(masker(path)) == masker(path)
        for path, state in run.image.items():
            name = masker(path)
            once = masker.state(name, state)
            assert masker.state(name, once) == once
        once_said = masker.text("stdout", run.stdout)
        assert masker.text("stdout", once_said.encode()) == once_said


@unhurried
@given(observations, observations)
def test_both_runs_are_equal_under_their_mask_but_for_what_is_hopeless(one: Observation, other: Observation) -> None:
    masker = masker_of(one, other)
    first, second = masker.image(one.image), masker.image(other.image)
    hopeless = masker.mask.hopeless
    for path in first.keys() | second.keys():
        assert path in hopeless or same(first.get(path), second.get(path)), path
    assert "stdout" in hopeless or masker.text("stdout", one.stdout) == masker.text("stdout", other.stdout)


@unhurried
@given(observations)
def test_equal_runs_mask_nothing(one: Observation) -> None:
    mask = masker_of(one, one).mask
    assert mask == rooted(Mask(), "/a", "/b")


@unhurried
@given(images)
def test_a_masked_image_has_as_many_files(files: Image) -> None:
    masker = masker_of(Observation(image=files), Observation(image={}))
    assert len(masker.image(files)) == len(files)

"""Impairments as values: what is refused, what they become as netem's arguments and in files (covers: T-1)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blackstart.core.errors import BlackstartError
from blackstart.lab import PROFILES, Burst, Impairment, LabError, netem, profile
from blackstart.lab.compose import compose
from blackstart.lab.description import Bad, read_description

percent = st.floats(0, 100, allow_nan=False)
rest = {
    "delay_ms": st.floats(1, 1000), "jitter_ms": st.floats(0, 100), "duplicate_percent": percent,
    "corrupt_percent": percent, "reorder_percent": percent, "gap": st.integers(1, 10), "copies": st.integers(1, 3),
    "when": st.sampled_from(["", "@3", "20%", "2*@4+", "@10+5"]),
}  # fmt: skip
bursts = st.builds(Burst, enter_percent=percent, leave_percent=percent)
impairments = st.builds(Impairment, loss_percent=percent, **rest) | st.builds(Impairment, burst=bursts, **rest)


@given(impairments)
def test_json_and_repr_come_back_equal(wish: Impairment) -> None:
    assert msgspec.json.decode(msgspec.json.encode(wish), type=Impairment) == wish
    assert eval(repr(wish), {"Impairment": Impairment, "Burst": Burst}) == wish


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"loss_percent": 101}, "loss_percent"), ({"loss_percent": -1}, "loss_percent"),
        ({"loss_percent": math.nan}, "loss_percent"), ({"loss_percent": "30"}, "loss_percent"),
        ({"delay_ms": -5}, "delay_ms"), ({"delay_ms": math.inf}, "delay_ms"), ({"delay_ms": 1e12}, "delay_ms"),
        ({"jitter_ms": -1}, "jitter_ms"), ({"copies": 0}, "copies"), ({"gap": 0}, "gap"),
        ({"rate_kbit": -1}, "rate_kbit"), ({"queue_packets": 0}, "queue_packets"),
        ({"reorder_percent": 10}, "delay"), ({"port": 80}, "protocol"), ({"port": 99999, "protocol": "tcp"}, "port"),
        ({"distribution": "gauss"}, "distribution"), ({"protocol": "sctp"}, "protocol"), ({"copies": 1.5}, "copies"),
        ({"port": 80.0, "protocol": "tcp"}, "port"), ({"when": "@"}, "when"), ({"when": "sometimes"}, "when"),
        ({"loss_percent": 5, "burst": Burst(enter_percent=1, leave_percent=10)}, "both loss_percent and burst"),
    ],
)  # fmt: skip
def test_values_without_a_meaning_are_refused_by_name(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(LabError) as refused:
        Impairment(**fields)
    assert word in str(refused.value) and refused.value.next_step


def test_only_plain_delays_leave_the_offloads_alone() -> None:
    assert not Impairment(delay_ms=100).acts_on_packets
    assert Impairment(delay_ms=100, jitter_ms=1).acts_on_packets
    assert Impairment(loss_percent=1).acts_on_packets


def test_netem_gets_what_it_would_be_told_by_hand() -> None:
    assert netem(Impairment(loss_percent=30)) == "limit 10000 loss 30%"
    assert netem(Impairment(delay_ms=100, jitter_ms=20, distribution="normal")).endswith(
        "delay 100ms 20ms distribution normal"
    )
    burst = Impairment(burst=Burst(enter_percent=1, leave_percent=10, lost_inside_percent=50))
    assert netem(burst).endswith("loss gemodel 1% 10% 50% 0%")
    assert netem(PROFILES["chaos-reorder"]).endswith("delay 50ms reorder 25%")
    assert netem(PROFILES["3g"]).endswith("delay 250ms loss 1.5% rate 750kbit")


@pytest.mark.parametrize(
    "fields",
    [
        {"when": "@3", "loss_percent": 1}, {"duplicate_percent": 1, "copies": 2},
        {"delay_ms": 5, "jitter_ms": 1, "keeps_order": True},
    ],
)  # fmt: skip
def test_what_netem_cannot_do_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(LabError):
        netem(Impairment(**fields))


def test_an_unknown_profile_names_a_near_one() -> None:
    with pytest.raises(LabError, match="chaos-los") as refused:
        profile("chaos-los-30")
    assert "chaos-loss-30" in refused.value.next_step


def test_the_profiles_that_were_asked_for_are_there() -> None:
    names = {"chaos-loss-30", "chaos-loss-50", "chaos-reorder", "chaos-duplicate", "loss-10", "delay-500", "jitter-300"}
    assert names | {"3g", "satellite", "flaky-wifi"} <= PROFILES.keys()


def test_a_compose_file_has_a_profile_for_each() -> None:
    read = yaml.safe_load(compose("web", image="tools"))
    assert {tuple(service["profiles"]) for service in read["services"].values()} == {(name,) for name in PROFILES}
    assert read["services"].keys() == {f"net-{name}" for name in PROFILES}  # a project may have a `wifi` of its own
    one = read["services"]["net-chaos-loss-30"]
    assert one["network_mode"] == "service:web" and one["cap_add"] == ["NET_ADMIN"] and one["image"] == "tools"
    assert "command" not in one and one["entrypoint"][:2] == ["sh", "-c"]  # whatever the image's own entrypoint is
    script = one["entrypoint"][2]
    assert "netem limit 10000 loss 30%" in script and "tc qdisc del dev eth0 root" in script
    assert "$" not in script.replace("$$", "")


@pytest.mark.parametrize(
    "words", [{"service": "web; rm"}, {"service": "web", "interface": "eth0 && reboot"}, {"service": "net-wifi"}]
)
def test_a_compose_file_takes_no_shell_from_names_and_no_name_of_its_own(words: dict[str, str]) -> None:
    with pytest.raises(LabError):
        compose(**words)


def test_a_file_describes_hosts_networks_and_links(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(
        'seed = 4\n[hosts.a]\n[hosts.b]\ncommand = ["true"]\nready = 80\n'
        '[[chaos]]\nwhere = ["a", "b"]\nloss_percent = 30\none_way = true\n[[chaos]]\nwhere = "all"\nprofile = "3g"\n'
    )
    found = read_description(file)
    assert list(found.hosts) == ["a", "b"] and found.hosts["b"].ready == 80 and found.seed == 4
    assert found.chaos == (
        Bad(f"{file}: chaos 1", ("a", "b"), Impairment(loss_percent=30), True),
        Bad(f"{file}: chaos 2", "all", PROFILES["3g"]),
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "hosts"), ("[hosts.a", "TOML|Expected|description"), ("[hosts.a]\nip = 3", "ip"),
        ("[hosts.a]\n[[chaos]]\nloss_percent=1", "chaos 1"), ('[hosts.a]\n[[chaos]]\nwhere="a"\nloss=1', "loss"),
        ('[hosts.a]\n[[chaos]]\nwhere="a"\nloss_percent=300', "loss_percent"),
        ('[hosts.a]\n[[chaos]]\nwhere="a"\nprofile="4h"', "4h"),
        ('[hosts.a]\n[networks]\nlan=["a","b"]', "'b'"),
        ('[hosts.a]\n[[chaos]]\nwhere="a"\nprofile="3g"\ndelay_ms=1', "both"),
        ('[hosts.a]\n[[chaos]]\nwhere="a"\none_way=true', "nothing is wrong"),
        ('[hosts.a]\n[[chaos]]\nwhere="a"\nwhen="@3"\ncopies=2', "nothing is wrong"),
        ('[hosts.a]\n[[chaos]]\nprofile="3g"', "it is not said where"),
        ('[hosts.a]\nready=80', "no command runs there"), ('[hosts.a]\ncommand=["x"]\nready=70000', "ready"),
        ('[hosts.a]\ncommand=["x"]\nready=-1', "ready"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_name_and_the_key(tmp_path: Path, text: str, word: str) -> None:
    file = tmp_path / "lab.toml"
    file.write_text(text)
    with pytest.raises(BlackstartError, match=word) as refused:
        read_description(file)
    assert "lab.toml" in refused.value.where and refused.value.next_step

"""What a target is told and seen to do is translated where its state stands elsewhere."""

from __future__ import annotations

import re

import pytest

from blackstart.core.errors import BlackstartError
from blackstart.sandbox.layout import Layout
from blackstart.sandbox.outside import Places, copies

LIVE = "/tmp/blackstart-0123456789abcdef/images/live"
PLACES = Places(["/srv/app", "/srv/app2/state"], LIVE, "/home/me")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("/srv/app", f"{LIVE}/copy/0"),
        ("/srv/app/x", f"{LIVE}/copy/0/x"),
        ("--db=/srv/app/x", f"--db={LIVE}/copy/0/x"),
        ("cat '/srv/app/x' > /srv/app2/state/y", f"cat '{LIVE}/copy/0/x' > {LIVE}/copy/1/y"),
        ("/usr/bin:/srv/app/bin", f"/usr/bin:{LIVE}/copy/0/bin"),
        ("/srv/application", "/srv/application"),
        ("/srv/app2/other", "/srv/app2/other"),
        ("/old/srv/app/x", "/old/srv/app/x"),
        ("", ""),
    ],
)
def test_paths_in_texts_are_rewritten_whole_or_not_at_all(text: str, there: str) -> None:
    assert PLACES.rewritten(text) == there


def test_paths_seen_are_translated_back() -> None:
    for usual in ("/srv/app", "/srv/app/x/y", "/srv/app2/state/z", "/etc/passwd"):
        assert PLACES.usual(PLACES.rewritten(usual)) == usual
    assert PLACES.usual(f"{LIVE}/fresh/0/t") == "/tmp/t"
    assert PLACES.usual(f"{LIVE}/root" + "/x") == "/home/me/x"


def test_the_rules_hold_for_every_work_area() -> None:
    for live in (LIVE, LIVE.replace("0123456789abcdef", "fedcba9876543210")):
        seen = Places(["/srv/app", "/srv/app2/state"], live, "/home/me").rewritten("/srv/app2/state/z")
        for pattern, usual in PLACES.rules():
            seen = re.sub(pattern, usual, seen)
        assert seen == "/srv/app2/state/z"


def test_the_environment_points_to_places_that_can_be_written() -> None:
    told = PLACES.environment({"HOME": "/home/me", "PATH": "/bin", "STATE": "/srv/app/s"})
    assert told["STATE"] == f"{LIVE}/copy/0/s"
    assert told["HOME"] == f"{LIVE}/root"
    assert told["TMPDIR"] == f"{LIVE}/fresh/0"


def test_without_a_work_area_nothing_is_changed() -> None:
    nowhere = Places((), "")
    assert nowhere.rewritten("/srv/app") == "/srv/app"
    assert nowhere.environment({"HOME": "/home/me"}) == {"HOME": "/home/me"}
    assert nowhere.usual("/srv/app") == "/srv/app"
    assert nowhere.rules() == ()


def test_what_this_isolation_cannot_do_is_said() -> None:
    layout = Layout(cwd="/srv/app", home="/", copies=("/srv/app/state", "/var/lib/x"))
    assert copies(layout) == ("/srv/app", "/var/lib/x")
    with pytest.raises(BlackstartError, match="cannot open"):
        copies(Layout(cwd="/srv", home="/", opened=("/run/x",)))
    with pytest.raises(BlackstartError, match="cannot be copied"):
        copies(Layout(cwd="/", home="/"))

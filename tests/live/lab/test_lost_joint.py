"""A link whose process is ended makes a trial unknown.

covers: L-3
"""

from __future__ import annotations

from pathlib import Path

import pytest

from blackstart.core.errors import SandboxLimit
from blackstart.lab import Impairment, Joined
from tests.live.trials.stage import staged

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def test_whatever_is_asked_of_it_says_so(tmp_path: Path) -> None:
    with staged(tmp_path) as stage, stage.bench.image_from("S0") as image, stage.zygote.sandbox(image) as sandbox:
        joint = sandbox.joint = Joined(sandbox, [("tcp", 6379)])
        assert joint._keeper is not None
        joint._keeper.kill()
        joint._keeper.wait()
        for ask in (joint.counts, lambda: joint.apply(Impairment(loss_percent=30)), lambda: joint.reach([("tcp", 80)])):
            with pytest.raises(SandboxLimit):
                ask()

"""What a clean run of a service that cannot be broken yet is told to lack."""

from __future__ import annotations

import pytest

from blackstart.campaign.serving import must_serve
from blackstart.core.errors import Undecided
from blackstart.core.history import STOPPED, Act, End, Life, Run, WorkloadEnd


def test_a_workload_that_fails_is_told_with_its_own_words() -> None:
    why = "r0: FileNotFoundError: no such file: 'out.log'"
    life = Life(ready_s=0.1, stop_s=1.0, acts=(Act(how="fail", id="r0"),), workload=WorkloadEnd(code=0, said=why))
    with pytest.raises(Undecided, match="says `fail r0` though") as caught:
        must_serve(Run(phase="run", end=End(how=STOPPED), life=life), ())
    assert caught.value.where == why

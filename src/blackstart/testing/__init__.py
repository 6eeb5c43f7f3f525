"""For test suites: blackstart's mechanisms without a campaign. Of blackstart only its pytest plugin imports this.

from blackstart.testing import crash_states, materialise, record

recording = record(["./app", "--add", "one"], state="data")
for state in crash_states(recording, "ext4", "xfs"):
    materialise(recording, state, "disk")
    check("disk")

`check_fault` is for those who write faults.
"""

from blackstart.power import Recording, State
from blackstart.testing.conformance import check_fault, check_value
from blackstart.testing.power import crash_states, explain, materialise, record
from blackstart.testing.workload import report, say

__all__ = [
    "Recording",
    "State",
    "check_fault",
    "check_value",
    "crash_states",
    "explain",
    "materialise",
    "record",
    "report",
    "say",
]

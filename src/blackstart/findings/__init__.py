"""From failing trials to findings: one per cause, with a fingerprint, a severity and advice; pure."""

from blackstart.findings.finding import Failure, Finding, cause_of, group, is_same, severity, where
from blackstart.findings.fingerprint import fingerprint
from blackstart.findings.reproduction import Reproduction, reproduction

__all__ = [
    "Failure",
    "Finding",
    "Reproduction",
    "cause_of",
    "fingerprint",
    "group",
    "is_same",
    "reproduction",
    "severity",
    "where",
]

"""What the target depends on and does, learned from clean runs; pure."""

from blackstart.surface.behind import write_behind
from blackstart.surface.effects import effects
from blackstart.surface.folders import doubtful_folders, within
from blackstart.surface.mask import Observation, extend, learn, masked_trace
from blackstart.surface.moment import Moment
from blackstart.surface.roles import Deletion, deletion_candidates, judge_deletion, roles, uses
from blackstart.surface.surface import Surface, surface
from blackstart.surface.versions import VersionReader, Versions, boundary_rerun

__all__ = [
    "write_behind",
    "Deletion",
    "Moment",
    "Observation",
    "Surface",
    "VersionReader",
    "Versions",
    "boundary_rerun",
    "deletion_candidates",
    "doubtful_folders",
    "effects",
    "extend",
    "judge_deletion",
    "learn",
    "masked_trace",
    "roles",
    "surface",
    "uses",
    "within",
]

"""What a target that does not end is doing, in a word, and for how long that must be seen before it is said.

Whoever watches a target stops looking once it has seen so much, and the end oracle asks for no less: with two sets of
numbers every hang would become unknown as soon as one of them changed.
"""

from __future__ import annotations

# No CPU, in a call without a time limit; in a wait with its own limit; in one that TCP ends once the peer's machine is
# gone; the same wait again and again; CPU without progress; bytes or state still change.
BLOCKED, TIMED, KEPT, REPEATING, BUSY, WORKING = "blocked", "timed", "kept", "repeating", "busy", "working"

# Blocked for so long; past a limit of its own by so much; busy for so long, with such a share of one CPU; so many times
# the same wait.
BLOCKED_S, LIMIT_GRACE_S = 2.0, 3.0
BUSY_S, BUSY_SHARE = 5.0, 0.9
ROUNDS = 10
# A service that looks up so often by itself waits for its users, or counts the time until its next try, a minute as a
# rule: it does the former if it has tried nothing for so long.
TICK_S, TICKING_S = 1.0, 65.0
# How long one that is connected again has for its work.
CONNECTED_S = 5.0

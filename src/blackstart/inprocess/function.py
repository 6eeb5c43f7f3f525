"""`failpoint("name")`: the same place as a call, for programs that are delivered without source.

It costs a call where the comment costs nothing. Its value is what a `return` term gives, else None.
"""

from __future__ import annotations

import sys
from types import CodeType

from blackstart.inprocess import arming, weaving


def failpoint(name: str) -> object:
    """Reach the failpoint `name`; does nothing while it is not armed."""
    __tracebackhide__ = True
    for point in arming.of(name):
        answer = point.reach()
        if answer is not None:
            return answer[0]
    return None


def is_called(name: str) -> bool:
    """Whether code of a loaded module calls `failpoint(name)`; found in its constants."""
    # First where a name of the module leads here; then, slower, also where a function imports it or asks a package.
    return any(name in code.co_consts for anywhere in (False, True) for code in _codes_that_call(anywhere))


def _codes_that_call(anywhere: bool) -> list[CodeType]:
    """The code objects in which a name stands that is this function, or its own name."""
    from blackstart.inprocess import modules
    from blackstart.inprocess.holders import functions_of

    found = []
    for module in list(sys.modules.values()):
        names = getattr(module, "__dict__", {})
        ours = {name for name, value in list(names.items()) if value is failpoint}
        if modules.may_have_sites(str(getattr(module, "__file__", ""))) and (ours or anywhere):
            ours.add(failpoint.__name__)
            for function in functions_of(module):
                found += [code for code in weaving.every(function.__code__) if ours.intersection(code.co_names)]
    return found

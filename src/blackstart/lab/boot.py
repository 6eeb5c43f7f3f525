"""First lines of the keeper: makes its modules importable without running the packages' `__init__`, which would import
far more than it uses. argv[1] is where installed packages are found.
"""

import json
import sys
import types

sys.path[:] = json.loads(sys.argv[1])
_root = __file__.rpartition("/lab/")[0]
for _name in ("", ".core", ".sandbox", ".lab"):
    _module = sys.modules["blackstart" + _name] = types.ModuleType("blackstart" + _name)
    _module.__path__ = [_root + _name.replace(".", "/")]

from blackstart.lab.keeper import main  # noqa: E402

main(sys.argv[2:])

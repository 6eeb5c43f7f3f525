"""First lines of the helper: makes its modules importable without running the package's `__init__`.

The helper has the standard library only, and stays small, because each fork of it costs what its memory costs.
"""

import sys
import types

_here = __file__.rpartition("/")[0]
for _name, _path in (("blackstart", _here.rpartition("/")[0]), ("blackstart.sandbox", _here)):
    _module = sys.modules[_name] = types.ModuleType(_name)
    _module.__path__ = [_path]

from blackstart.sandbox.helper import main  # noqa: E402

main()

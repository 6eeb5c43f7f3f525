"""First lines of the helpers: makes their modules importable without running the package's `__init__`.

A helper has the standard library only, and stays small, because each fork of it costs what its memory costs.
argv[1] is `serve` (the zygote) or `probe`.
"""

import sys
import types

_here = __file__.rpartition("/")[0]
for _name, _path in (("blackstart", _here.rpartition("/")[0]), ("blackstart.sandbox", _here)):
    _module = sys.modules[_name] = types.ModuleType(_name)
    _module.__path__ = [_path]

if sys.argv[1] == "probe":
    from blackstart.sandbox.probing import main
else:
    from blackstart.sandbox.helper import main
main(sys.argv[2:])

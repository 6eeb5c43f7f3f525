"""Keeps keys that nobody else may read, one more each run. MODE says what it leaves behind: stale, open, orphans."""

import json
import os
import secrets
import subprocess
import sys

MODE, STATE = os.environ.get("MODE", "good"), "keys.json"
keys = json.load(open(STATE)) if os.path.exists(STATE) else {}
for name in os.listdir("."):
    if name.startswith(STATE + ".") and MODE not in ("stale", "open"):
        os.unlink(name)
helper = subprocess.Popen(["sleep", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
try:
    keys[f"password {len(keys)}"] = str(len(keys) + 7) * 12
    new = f"{STATE}.{secrets.token_hex(4)}"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644 if MODE == "open" else 0o600), "w") as file:
        json.dump(keys, file)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(new, 0o600)
    os.rename(new, STATE)
    os.fsync(os.open(".", os.O_RDONLY))
except OSError as error:
    if MODE == "orphans":
        sys.exit(f"not kept: {error}")
    helper.kill()
    sys.exit(f"not kept: {error}")
helper.kill()
print("kept", len(keys))

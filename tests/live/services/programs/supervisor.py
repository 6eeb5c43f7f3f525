"""Keeps two workers running; MODE=orphans: on TERM it ends without them, if its lock says that it was in a hurry."""

import os
import signal
import subprocess
import sys
import time

MODE = os.environ.get("MODE", "good")
WORKER = [sys.executable, "-c", "import time\nwhile True: time.sleep(0.2)"]
children = [subprocess.Popen(WORKER) for _ in range(2)]
told = []


def stop(number, _):
    told.append(number)
    if MODE == "orphans" and len(told) > 1:
        os._exit(0)  # asked twice: out at once


for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, stop)
with open("pids", "w") as file:
    file.write("\n".join(str(child.pid) for child in children))
print("ready", flush=True)
while not told:
    time.sleep(0.05)
time.sleep(0.2)
for child in children:
    child.terminate()
for child in children:
    child.wait()

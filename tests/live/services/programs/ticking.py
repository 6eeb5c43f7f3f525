"""Ticks once a second, scheduled by a real scheduler with its jobs in SQLite; MODE=careful: it is made to go on."""

import logging
import os
import signal
import sys
import time

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

STORE = "sqlite:///jobs.sqlite"


class Careful(BackgroundScheduler):
    def _process_jobs(self):
        try:
            return super()._process_jobs()
        except Exception as error:
            print(f"not this time: {error}", file=sys.stderr, flush=True)
            return 1.0


def tick():
    with open("ticks", "a") as file:
        file.write("tick\n")


logging.basicConfig(level=logging.WARNING)
made = Careful if os.environ.get("MODE") == "careful" else BackgroundScheduler
scheduler = made(jobstores={"default": SQLAlchemyJobStore(STORE)})
scheduler.add_job(tick, "interval", seconds=1, id="tick", replace_existing=True, misfire_grace_time=None)
scheduler.start()
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
print("ready", flush=True)
while not stopped:
    time.sleep(0.2)
print("running:", scheduler.running, flush=True)
scheduler.shutdown(wait=False)

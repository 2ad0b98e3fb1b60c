"""Ends a driver whose submitter is gone: nobody would hear it, and its scheduler may long have begun the next try.

A scheduler's task that is killed leaves spark-submit's JVM, and the driver under it, at work. So the task says who it is in the
environment of what it submits; where nobody did (a person, a cron job, a driver on another machine), nothing is watched.
"""

import os
import sys
import time
from threading import Thread

import psutil

SUBMITTER = "SHELFMATES_SUBMITTER"  # variable that holds the number of the submitting process, on this machine
EVERY = 1.0  # seconds between two looks
GONE = 75  # EX_TEMPFAIL: nothing is wrong with the night


def leave_with_submitter() -> None:
    """Watches the submitter, if there is one to watch, for as long as this process lives."""
    if number := os.environ.get(SUBMITTER):
        Thread(target=_watch, args=(int(number),), daemon=True).start()


def _watch(number: int) -> None:
    try:
        submitter = psutil.Process(number)
        while submitter.is_running() and submitter.status() != psutil.STATUS_ZOMBIE:
            time.sleep(EVERY)
    except psutil.NoSuchProcess:
        pass
    print("shelfmates: the process that submitted this one is gone, so this one ends too", file=sys.stderr, flush=True)
    os._exit(GONE)  # at once, whatever the other threads wait for; Spark's JVM ends with its driver

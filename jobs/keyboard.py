"""Ctrl-C ends the program at once, in two lines.

No KeyboardInterrupt is raised: in the midst of an import Python may pass over one, or keep the lock that every other import waits for; and
pyspark's own handler speaks to the JVM in the thread that waits for its answer.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPED = 130  # the exit code: what a shell makes of Ctrl-C
PATIENCE = 10.0  # seconds for what is to be done first
SAID = "\nshelfmates: stopped from the keyboard\n  → every table is as it was or has all that it was to have; run it again\n"


@contextmanager
def heeded(first: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Within, Ctrl-C does what is to be done first, in a thread of its own, and ends the process."""

    def stop(*_: object) -> None:
        doing = threading.Thread(target=first, daemon=True)
        doing.start()
        doing.join(PATIENCE)
        os.write(2, SAID.encode())
        os._exit(STOPPED)

    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

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


@contextmanager
def heeded(first: Callable[[], None] | None = None, remedy: str = "") -> Iterator[None]:
    """Within, Ctrl-C does what is to be done first, in a thread of its own, and ends the process; a second one ends it at once. A process
    that was begun to pass over Ctrl-C, as a shell's script begins those behind it, does so."""

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
        if first:
            doing = threading.Thread(target=first, daemon=True)
            doing.start()
            doing.join(PATIENCE)
        os.write(2, ("\nshelfmates: stopped from the keyboard\n" + (f"  → {remedy}\n" if remedy else "")).encode())
        os._exit(STOPPED)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def kept() -> Iterator[None]:
    """Takes back what others make of Ctrl-C within."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)

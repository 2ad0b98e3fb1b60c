"""What Spark says when one of its Python workers was killed, in words a person can act on.

On one machine Spark tries no task twice, so the stage fails; on a cluster all of its tries have. Nothing is wrong with the night: another
try may well succeed.
"""

from jobs.errors import TransientError

KILLED = "Python worker exited unexpectedly"  # as Spark says it, however deep the error lies


def lost_worker(error: Exception) -> TransientError | None:
    """The loss of a worker that an error tells of, if it does."""
    if KILLED not in str(error):
        return None
    remedy = (
        "run it again; if it ends like this again, see what the worker said above, or whether the system wants memory (`dmesg` says so): "
        "give it more, or Spark fewer cores"
    )
    return TransientError("a Python worker of Spark was killed, or crashed; no table holds a part of what was to be written", remedy)

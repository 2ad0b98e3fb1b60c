"""What Spark says when one of its processes was killed, or cannot be reached, in words a person can act on.

On one machine Spark tries no task twice, so the stage fails; on a cluster all of its tries have. Nothing is wrong with the night: another
try may well succeed.
"""

from py4j.protocol import Py4JNetworkError

from jobs.errors import TransientError

LOST = "ExecutorLostFailure"
MASTERLESS = "All masters are unresponsive"
KILLED = "Python worker exited unexpectedly"  # as Spark says it, however deep the error lies


def lost_process(error: Exception) -> TransientError | None:
    """The loss of a process that an error tells of, if it does."""
    if isinstance(error, Py4JNetworkError | ConnectionRefusedError | ConnectionResetError):  # no broken pipe: that may be our own output's
        lost, told = "Spark's Java process", "Java"
    elif KILLED in str(error):
        lost, told = "a Python worker of Spark", "the worker"
    elif LOST in str(error):
        lost, told = "an executor of Spark", "its worker"
    elif MASTERLESS in str(error):
        return TransientError("Spark's master does not answer", "see that it runs, at the address of spark.master, then run it again")
    else:
        return None
    remedy = (
        f"run it again; if it ends like this again, see what {told} said above, or whether the system wants memory (`dmesg` says so): "
        "give it more, or Spark fewer cores"
    )
    return TransientError(f"{lost} was killed, or crashed; no table holds a part of what was to be written", remedy)

"""Errors of Spark's in words that a person can act on."""

from collections.abc import Iterator
from contextlib import contextmanager

from jobs.errors import ShelfmatesError
from jobs.lost_process import lost_process
from jobs.storage import trouble


@contextmanager
def in_plain_words() -> Iterator[None]:
    """An error of ours that a Python worker has raised, the storage's, or the loss of a worker, instead of Spark's report of it."""
    try:
        yield
    except ShelfmatesError:
        raise
    except Exception as error:
        own = ShelfmatesError.told_in(str(error)) or trouble(error) or lost_process(error)
        if own is None:
            raise
        raise own from error

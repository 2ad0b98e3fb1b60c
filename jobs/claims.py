"""Whose night it is: of the run that began it last, and of its processes the newest.

Without a server nobody can say whether another process still lives, so none waits for one. A process claims its night with a row of
`claims`, and before every commit it looks whether a newer claim is there; if so it ends, and nothing it has not committed yet is seen.
A run begins a night with ingest; one that has not, goes on only where no other run has begun the night since. (Fencing tokens: Kleppmann,
Designing Data-Intensive Applications, chapter 8; of two commits that overlap all the same, Delta refuses the later.)
"""

import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from jobs.errors import SupersededError
from jobs.lake import Lake
from jobs.night import Night
from jobs.tables import CLAIMS


def claimed(lake: Lake, night: Night, *, begins: bool) -> Callable[[], None]:
    """Claims the night for this process; what is returned raises SupersededError once the night is another's.

    begins: this process begins the night. Raises SupersededError if it does not, and another run has begun it since.
    """
    token, seen = str(uuid.uuid4()), -1

    def check() -> None:
        nonlocal seen
        newest_commit = lake.version(CLAIMS)  # before the claims are read: one that comes meanwhile is looked at the next time
        if newest_commit == seen:
            return
        newest = next(row for row in _not_anothers(lake, night) if row["run_id"] == night.run_id)
        if newest["token"] != token:
            raise _superseded(night, newest)
        seen = newest_commit

    lake.create(CLAIMS)  # a lake of an earlier version has none
    if not begins:
        _not_anothers(lake, night)
    row = (night.date, night.run_id, token, begins, datetime.now(UTC), f"{socket.gethostname()}, process {os.getpid()}")
    lake.append(CLAIMS, lake.frame(CLAIMS, [row]), night)
    return check


def _not_anothers(lake: Lake, night: Night) -> list[Any]:
    """The night's claims, the newest first. Raises SupersededError if the last run to begin it was another than this one."""
    claims = sorted(lake.read(CLAIMS, night).collect(), key=lambda row: (row["claimed_at"], row["token"]), reverse=True)
    last = next((row for row in claims if row["begins"]), None)
    if last is not None and last["run_id"] != night.run_id:
        raise _superseded(night, last)
    return claims


def _superseded(night: Night, by: Any) -> SupersededError:
    """Of this process, by the one that made a claim."""
    if by["run_id"] == night.run_id:
        remedy = "nothing is to be done if that one is at work or has ended well; else run the night again"
    else:
        remedy = f"go on with that run (`--run-id {by['run_id']}`), or begin the night anew with ingest: of two runs the later goes on"
    who = f"{'another process of ' if by['run_id'] == night.run_id else ''}run {by['run_id']}"
    did = "has begun" if by["begins"] else "has gone on with"
    return SupersededError(
        f"{who} {did} the night of {night.date} at {by['claimed_at']:%H:%M:%S} UTC ({by['process']}); this one ends", remedy
    )

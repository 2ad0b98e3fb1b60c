"""Cuts users off from what they did: their rows of `user_keys` are destroyed, in every version of the table.

What they did is then under pseudonyms that belong to nobody; `erase` removes it. Who comes back is somebody new.
"""

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs import toolchain
from jobs.decisions import USER_KEYS
from jobs.errors import SettingsError
from jobs.interaction import keyed, of_key
from jobs.night import Night
from jobs.plain_words import in_plain_words
from jobs.settings import Settings
from jobs.user_key import user_key, wrong_key

if TYPE_CHECKING:
    from jobs.lake import Lake


def forget(settings: Settings, users: Sequence[str]) -> str:
    """What was done, in a line. Raises SettingsError if no user is named, or the key to their pseudonyms is not there."""
    from jobs.lake_root import check_root, open_lake
    from jobs.session import open_session

    key = user_key()
    toolchain.check()
    check_root(settings)
    with in_plain_words():
        spark = open_session(settings)
    try:
        with in_plain_words():
            return forgotten(open_lake(spark, settings), users, key)
    finally:
        spark.stop()


def forgotten(lake: "Lake", users: Sequence[str], key: bytes) -> str:
    if not users:
        raise SettingsError("no user is named", "give ids as arguments, or one a line on standard input")
    if not lake.exists(USER_KEYS):
        return "forget: nobody is known here"
    known = lake.read(USER_KEYS).select("person", "user_id")
    if known.where(f"person = '{of_key(key)}'").isEmpty():
        raise wrong_key()
    persons = {keyed(key, user) for user in users}
    gone = lake.spark.createDataFrame([(person,) for person in sorted(persons)], "person string")
    found = known.join(gone, "person").select("person").distinct().count()
    lake.purge(USER_KEYS, "person", gone, Night(datetime.datetime.now(datetime.UTC).date(), "forget"))
    if not found:
        return f"forget: none of {len(persons):,} users is known here: their ids have to be written as in the feeds"
    unknown = f", {len(persons) - found:,} were not known" if found < len(persons) else ""
    return (
        f"forget: {found:,} of {len(persons):,} users cut off from what they did{unknown}\n"
        "  → `shelfmates maintain --erase` removes it for good; keep them out of the feeds that are read again"
    )

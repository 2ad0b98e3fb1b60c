"""The shop's key to its users' pseudonyms: from the environment alone, so that it is in no settings file, no table and no log."""

import os
from collections.abc import Mapping

from jobs.errors import SettingsError

VARIABLE = "SHELFMATES_USER_KEY"
LENGTH_MIN = 16  # bytes; a shorter key could be found by trying


def user_key(environment: Mapping[str, str] = os.environ) -> bytes:
    """Raises SettingsError if there is none, or a short one; the message never tells it."""
    key = environment.get(VARIABLE, "").strip().encode()
    if len(key) < LENGTH_MIN:
        found = f"{VARIABLE} has {len(key)} bytes, expected {LENGTH_MIN} or more" if key else f"there is no {VARIABLE} in the environment"
        raise SettingsError(
            f"{found}: users are known by a keyed hash alone",
            "set it once, for instance to the output of `openssl rand -hex 32`, and keep it: with another key every user is a new one. "
            "Under Airflow it is the password of the connection shelfmates_users",
        )
    return key


def wrong_key() -> SettingsError:
    return SettingsError(
        f"{VARIABLE} is not the key that the users of this lake are known by: with it everybody would be somebody else",
        "set the key that was used so far; to begin anew with another one, remove the tables user_keys, interactions and recommendations",
    )

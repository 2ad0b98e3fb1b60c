"""Where the program and its settings are: the checkout that this file lies in, unless the environment says otherwise."""

import os
from pathlib import Path


def home() -> Path:
    """$SHELFMATES_HOME, else this checkout."""
    return Path(os.environ.get("SHELFMATES_HOME") or Path(__file__).resolve().parents[2])


def settings_file() -> str:
    """$SHELFMATES_SETTINGS, else the checkout's `shelfmates.toml`."""
    return os.environ.get("SHELFMATES_SETTINGS") or str(home() / "shelfmates.toml")

"""This program as an archive, for executors on other machines."""

import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

FOLDER = "shelfmates-program"  # of an executor's work folder, in which the archive is unpacked
TRAVELS = {".py", ".csv", ".toml", ".nbi", ".nbc"}  # of the program's files; the last two are numba's


def packed() -> Path:
    """The archive, alone in a new folder, with what numba has compiled of the program: executors would take a minute each."""
    home = Path(__file__).resolve().parents[1]
    made = Path(tempfile.mkdtemp(prefix="shelfmates-")) / "program.tar.gz"
    with tarfile.open(made, "w:gz", compresslevel=1) as archive:
        for file in sorted(file for package in ("jobs", "expectations") for file in (home / package).rglob("*")):
            if file.suffix in TRAVELS:
                with suppress(FileNotFoundError):  # numba's files of another driver come and go
                    archive.add(file, file.relative_to(home))  # with its time, by which numba knows what it has compiled
    return made

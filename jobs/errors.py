"""Every error this program raises on purpose: what was found, what was expected, what to do about it.

The exit code tells a scheduler what a retry is worth: 75 (EX_TEMPFAIL) may pass on a second try, every other code will fail the same way
again.
"""

from collections.abc import Iterator, Sequence
from typing import Self


class ShelfmatesError(Exception):
    """Root of the tree. `remedy` is one sentence that tells the reader what to do."""

    exit_code = 1

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found, remedy)
        self.found = found
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.found}\n  → {self.remedy}"

    @classmethod
    def _kinds(cls) -> Iterator[type["ShelfmatesError"]]:
        for kind in cls.__subclasses__():
            yield kind
            yield from kind._kinds()

    @classmethod
    def told_in(cls, text: str) -> "ShelfmatesError | None":
        """The error that a Python worker's traceback ends with, if it is one of this program's; `text` may hold Java's around it."""
        kinds = {f"{kind.__module__}.{kind.__name__}": kind for kind in cls._kinds()}
        for line in reversed(text.splitlines()):
            name, _, _ = line.partition(": ")
            if name in kinds:
                found, _, remedy = text[text.rindex(line) + len(name) + 2 :].partition("\n  → ")
                return kinds[name](found.strip(), remedy.partition("\n")[0])
        return None


class SettingsError(ShelfmatesError):
    """The settings file, an override or a command-line value is wrong."""

    exit_code = 2


class SourceError(ShelfmatesError):
    """A source file cannot be read as the settings say it should be."""

    exit_code = 3

    @classmethod
    def at(cls, source: str, file: str, found: str, remedy: str, row: int | None = None) -> Self:
        """A fault in one file of one source, at one row (counted from 1 after the header) where there is one."""
        where = f"source {source!r}, file {file}" + (f", row {row}" if row is not None else "")
        return cls(f"{where}: {found}", remedy)


class HeldError(ShelfmatesError):
    """The night's data broke a rule graded `fail`: nothing is published and the published tables stay as they were.

    `checks` are those that a person may release the night from, told part by part; none where a release would not help.
    """

    exit_code = 4

    def __init__(self, found: str, remedy: str, checks: Sequence[dict[str, str]] = ()) -> None:
        super().__init__(found, remedy)
        self.checks = checks


class ContractError(ShelfmatesError):
    """A table or frame is not what `tables` declares, or a stage broke its own guarantee."""

    exit_code = 5


class SupersededError(ShelfmatesError):
    """Another run, or a later process of this one, has taken the night over."""

    exit_code = 7


class ToolchainError(ShelfmatesError):
    """Java, the Delta jars, the encoder or the lake's storage is missing or unusable."""

    exit_code = 6


class TransientError(ShelfmatesError):
    """Another writer, a file in change or a database out of reach got in the way: the same command may well succeed on a retry."""

    exit_code = 75


class ConflictError(TransientError):
    """Another writer got in the way of a commit: the stage may be run again at once."""

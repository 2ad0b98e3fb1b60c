"""What a stage is called with and what it answers: a date and a run id, never data."""

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Release:
    """A person's word that a night is to be published although a check holds it."""

    who: str
    why: str


@dataclass(frozen=True)
class Night:
    """One run of one night. Rerunning a night under its own run id replaces what it wrote before."""

    date: date
    run_id: str
    release: Release | None = None

    @property
    def predicate(self) -> str:
        """The SQL predicate of this night's partition."""
        return f"snapshot_date = DATE'{self.date.isoformat()}'"

    @property
    def of_this_run(self) -> str:
        """The SQL predicate of this run's rows."""
        return "run_id = '" + self.run_id.replace("\\", "\\\\").replace("'", "\\'") + "'"

    @property
    def verdict(self) -> str:
        """The SQL predicate, over `audit_results`, of what falls when rows of the night change: what this run found after validate, and
        every run's audit, without which nothing is published."""
        return f"(({self.of_this_run} AND check NOT RLIKE '^(feeds|raw_items):') OR check LIKE 'night:%')"


@dataclass(frozen=True)
class Counts:
    """What one stage did. `unit` is what rows_out counts ("items", "pairs"); `figures` are further numbers by name, each with its unit in
    its name (`items_per_s`, `peak_memory_mb`); `note` is said on the stage's closing line, as in "1,204 new"."""

    rows_in: int
    rows_out: int
    unit: str
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""
    idle: bool = False  # there was nothing to do, and nothing was made

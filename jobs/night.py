"""What a stage is called with and what it answers: a date and a run id, never data."""

from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True)
class Night:
    """One run of one night. Rerunning a night under its own run id replaces what it wrote before."""

    date: date
    run_id: str

    @property
    def predicate(self) -> str:
        """The SQL predicate of this night's partition."""
        return f"snapshot_date = DATE'{self.date.isoformat()}'"

    @property
    def of_this_run(self) -> str:
        """The SQL predicate of this run's rows."""
        return "run_id = '" + self.run_id.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True)
class Counts:
    """What one stage did. `unit` is what rows_out counts ("items", "pairs"); `figures` are further numbers by name, each with its unit in
    its name (`items_per_s`, `peak_memory_mb`); `note` is said on the stage's closing line, as in "1,204 new"."""

    rows_in: int
    rows_out: int
    unit: str
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""

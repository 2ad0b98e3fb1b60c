"""What a table is declared as: its columns, its grain, its key and its partitioning.

Types are Spark DDL, so that this file imports nothing of Spark; ids come before maps and arrays, so that file statistics cover them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    name: str
    type: str
    meaning: str
    required: bool = False


@dataclass(frozen=True)
class Table:
    """`checks` maps a constraint's name to a SQL predicate that Delta enforces on every write."""

    name: str
    grain: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: tuple[str, ...] = ()
    checks: tuple[tuple[str, str], ...] = ()
    properties: tuple[tuple[str, str], ...] = ()

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def ddl(self) -> str:
        return ", ".join(f"{c.name} {c.type}{' NOT NULL' if c.required else ''}" for c in self.columns)


SNAPSHOT_DATE = Column("snapshot_date", "date", "the night the row belongs to", required=True)

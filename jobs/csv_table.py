"""Generated files, row by row."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

Write = Callable[[Iterable[str]], object]  # of one row


@contextmanager
def table(path: Path, header: Iterable[str], encoding: str = "utf-8", separator: str = ",", newline: str = "\n") -> Iterator[Write]:
    """Gives what writes one row. The file takes its name only when it is whole."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator, lineterminator=newline)
        writer.writerow(header)
        yield writer.writerow
    part.replace(path)

"""Column names of a feed against the settings that map them: what is missing, which name or separator was probably meant.

Costs nothing to speak of. Reading the names out of a file does not belong here.
"""

import difflib

from jobs import csv_record
from jobs.feeds import AnyFeed

SEPARATORS = {",": ",", ";": ";", "\t": r"\t", "|": "|", "#": "#", ":": ":"}  # separator -> as TOML writes it
SHOWN = 50  # names in an error


class HeaderError(ValueError):
    """The columns are not what the settings say; `remedy` names the key to change."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


def names(key: str, source: AnyFeed, first: list[str] | csv_record.Unsplit) -> list[str]:
    """The column names in the first record of a CSV file. Raises HeaderError where they are none, or not those of the settings.

    `key` is the source's key in the settings: `sources.shop`.
    """
    wanted = set(source.needed.values())
    if not (isinstance(first, list) and wanted <= set(first)):
        line = source.separator.join(first) if isinstance(first, list) else first.text
        for separator, written in SEPARATORS.items():
            if wanted <= set(csv_record.split(line, separator, source.quote)):
                raise HeaderError(
                    f"the columns are separated by {separator!r}, not {source.separator!r}", f'set {key}.separator = "{written}"'
                )
    if not isinstance(first, list):
        remedy = f"save it with a header of names and lines that end in LF or CRLF, or set {key}.separator and {key}.quote"
        raise HeaderError(f"the header cannot be split: “{first.text[:60].strip()}”", remedy)
    check(key, source.needed, first)
    return first


def check(key: str, wanted: dict[str, str], columns: list[str]) -> None:
    """Raises HeaderError where names repeat, or where a column of `wanted`, key below the source's -> column, is missing."""
    repeated = sorted({column for column in columns if column and columns.count(column) > 1})
    if repeated:
        found = f"the header names {', '.join(map(repr, repeated))} more than once"
        raise HeaderError(found, "rename the columns: a value needs a name of its own")
    missing = {field: column for field, column in wanted.items() if column not in columns}
    if missing:
        listed = ", ".join(map(repr, columns[:SHOWN])) + (f" and {len(columns) - SHOWN} more" if len(columns) > SHOWN else "")
        found = f"there is no column {', '.join(map(repr, missing.values()))}; there are {listed}"
        free = [column for column in columns if column not in wanted.values()]
        raise HeaderError(found, "; ".join(_remedy(key, field, column, free) for field, column in missing.items()))


def _remedy(key: str, field: str, column: str, columns: list[str]) -> str:
    alike = {other.casefold(): other for other in columns}
    nearest = difflib.get_close_matches(column.casefold(), list(alike), n=1, cutoff=0.7)
    return f'set {key}.{field} = "{alike[nearest[0]]}"' if nearest else f"set {key}.{field} to the right one"

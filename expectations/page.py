"""The verdict page of a night: what was expected of its feeds, what was found, and what was refused, with examples.

It is one file without scripts or addresses, so it opens offline and from an archive. Great Expectations' own site loads its styles and
scripts from the network, and shows neither sources nor refused rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from html import escape
from typing import Any
from urllib.parse import urlsplit

from expectations.suite import Result

EXAMPLE_CHARACTERS = 600  # of an original row: enough to see what is wrong with it

_STYLE = """
:root { color-scheme: light dark; --text: #1c1e21; --soft: #63676d; --ground: #ffffff; --panel: #f5f6f7; --line: #dcdfe3;
  --good: #18794e; --bad: #c62a2f; --odd: #946800; }
@media (prefers-color-scheme: dark) { :root { --text: #e8e9eb; --soft: #a0a5ab; --ground: #16181b; --panel: #202327; --line: #363b41;
  --good: #4cc38a; --bad: #ff8589; --odd: #f1b535; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1.25rem; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.25rem 0 .5rem; } p { margin: .4rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--soft); }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); } .odd { color: var(--odd); }
.good, .bad, .odd { font-weight: 600; white-space: nowrap; }
details { border-bottom: 1px solid var(--line); padding: .4rem 0; } summary { cursor: pointer; }
pre { background: var(--panel); margin: .4rem 0; padding: .6rem .8rem; border-radius: 4px; font-size: 13px;
  white-space: pre-wrap; overflow-wrap: anywhere; }
"""
_SCOPE = "The feeds alone are judged here: what was found of products and pairs, and what holds a night, is in <code>audit_results</code>."
_HINT = "A row can have several reasons. All refused rows are in <code>quarantined_items</code>, each with its original values."


@dataclass(frozen=True)
class Example:
    file: str
    row: int
    values: str


@dataclass(frozen=True)
class Refusal:
    """One reason in one source: how many rows, and the first few of them."""

    source: str
    reason: str
    rows: int
    examples: list[Example]


def html(night: date, run_id: str, results: Sequence[Result], figures: Iterable[dict[str, Any]], refusals: Sequence[Refusal]) -> str:
    """The whole page. `figures` has a row a source, with `rows` and `quarantined`."""
    title = f"Feeds of {night.isoformat()}"
    parts = [
        f"<h1>{title}</h1>",
        _verdict(results),
        f'<p class="soft">{_SCOPE}</p>',
        f'<p class="soft">run {escape(run_id)}</p>',
        "<h2>Sources</h2>",
        _table(("source", "rows", "quarantined", "share"), [_source(row) for row in figures]),
        "<h2>Expectations</h2>",
        _table(
            ("", "expectation", "grade", "figure", "expected", "worst source", "why it matters"),
            [_expectation(one) for one in _by_weight(results)],
        ),
        "<h2>Quarantined rows</h2>",
        "".join(map(_refusal, refusals)) or '<p class="soft">none</p>',
        f'<p class="soft">{_HINT}</p>' if refusals else "",
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(parts) + "\n</body></html>\n"


class PageError(Exception):
    """The page cannot be written where the settings want it."""


def write(docs: str, night: date, page: str) -> str:
    """Writes the page under the folder or address `docs`, and returns where it lies. Raises PageError where it cannot be written."""
    from pyarrow import ArrowInvalid, ArrowNotImplementedError
    from pyarrow.fs import FileSystem, LocalFileSystem

    try:
        files, folder = FileSystem.from_uri(docs) if urlsplit(docs).scheme else (LocalFileSystem(), docs)
        files.create_dir(f"{folder}/{night.isoformat()}", recursive=True)
        with files.open_output_stream(f"{folder}/{night.isoformat()}/index.html") as stream:
            stream.write(page.encode())
    except (ArrowInvalid, ArrowNotImplementedError, OSError) as error:  # no address, one that this Arrow does not know, no right or room
        raise PageError(f"the page of {night} cannot be written to {docs}: {error}") from error
    return f"{docs}/{night.isoformat()}/index.html"


def _verdict(results: Iterable[Result]) -> str:
    missed = [result for result in results if not result.passed]
    failed = sum(result.grade == "fail" for result in missed)
    if failed:
        return f'<p class="bad">Held: {failed} of the expectations that a night must meet {"is" if failed == 1 else "are"} not met.</p>'
    warned = f", with {len(missed)} warning{'s' if len(missed) > 1 else ''}" if missed else ""
    return f'<p class="{"odd" if missed else "good"}">Passed{warned}.</p>'


def _by_weight(results: Iterable[Result]) -> list[Result]:
    """What is not met first, then what can hold a night, at the end what was not measured; else in the suite's order."""
    return sorted(results, key=lambda result: (result.passed, result.figure is None, result.grade != "fail"))


def _source(row: dict[str, Any]) -> tuple[str, ...]:
    rows, refused = int(row["rows"]), int(row["quarantined"] or 0)
    share = f"{refused / rows:.2%}" if rows else ""
    return (f"<td>{escape(str(row['group']))}</td>", _number(f"{rows:,}"), _number(f"{refused:,}"), _number(share))


def _expectation(result: Result) -> tuple[str, ...]:
    kind, word = ("good", "met") if result.passed else ("bad", "not met") if result.grade == "fail" else ("odd", "warning")
    if result.figure is None:
        kind, word = "soft", "not measured"
    return (
        f'<td class="{kind}">{word}</td>',
        f"<td>{escape(result.check.partition(': ')[2].replace('_', ' '))}</td>",
        f"<td>{result.grade}</td>",
        _number(result.shown),
        _number(escape(result.bound)),
        f"<td>{'' if result.figure is None else escape(result.group)}</td>",
        f"<td>{escape(result.reason)}</td>",
    )


def _refusal(refusal: Refusal) -> str:
    examples = "".join(
        f'<p class="soft">{escape(one.file)}, row {one.row:,}</p><pre>{escape(one.values)}'
        f"{'…' if len(one.values) >= EXAMPLE_CHARACTERS else ''}</pre>"
        for one in refusal.examples
    )
    rows = f"{refusal.rows:,} row{'s' if refusal.rows != 1 else ''}"
    return f"<details><summary><b>{escape(refusal.reason)}</b> · {escape(refusal.source)} · {rows}</summary>{examples}</details>"


def _number(text: str) -> str:
    return f'<td class="number">{text}</td>'


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    numbers = {"rows", "quarantined", "share", "figure", "expected"}
    head = "".join(f'<th class="number">{name}</th>' if name in numbers else f"<th>{name}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(row)}</tr>\n" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'

"""The data dictionary: every table with its columns, every view, and example queries, as Markdown. `tables.md` is what it writes."""

from jobs.decisions import DECISIONS
from jobs.table import Column, Table
from jobs.tables import TABLES
from jobs.views import EXAMPLES, VIEWS

HEAD = """\
# Tables

Delta tables under `lake.root`; any reader of Delta reads them. `shelfmates tables` prints this page, `shelfmates sql` asks the tables.
"""


def of_table(table: Table) -> str:
    """A table's grain, key and columns."""
    told = [f"### {table.name}", "", f"Grain: {table.grain}. Key: {', '.join(f'`{name}`' for name in table.key)}."]
    if table.partition:
        told[-1] += f" Partitioned by {', '.join(f'`{name}`' for name in table.partition)}."
    rows = [f"| `{c.name}` | `{c.type}` | {_escaped(c)} |" for c in table.columns]
    return "\n".join([*told, "", "| column | type | meaning |", "|---|---|---|", *rows])


def _escaped(column: Column) -> str:
    return f"{'' if column.required else 'may be null; '}{column.meaning.replace('<', '&lt;').replace('|', '&#124;')}"


def page() -> str:
    """The whole dictionary."""
    of_night = [of_table(table) for name, table in TABLES.items() if name not in DECISIONS]
    made = [of_table(table) for table in DECISIONS.values()]
    views = [f"| `{view.name}` | {view.answers} | {', '.join(f'`{name}`' for name in view.tables)} |" for view in VIEWS.values()]
    asked = [f"**{question}**\n\n```sql\n{_plain(query)}\n```" for question, query in EXAMPLES.items()]
    parts = [
        HEAD,
        "## Of a night",
        *of_night,
        "## Made of a published night",
        *made,
        "## Views",
        "\n".join(
            [
                "Of the newest night for which their table was made, where they do not say otherwise.",
                "",
                "| view | answers | reads |",
                "|---|---|---|",
                *views,
            ]
        ),
        "## Questions",
        "`shop:1` stands for a product of yours: `SELECT item_id, title FROM items_now LIMIT 20` names some.",
        *asked,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _plain(query: str) -> str:
    """The query without the margin that it has in the program."""
    return "\n".join(line.strip() for line in query.strip().splitlines())

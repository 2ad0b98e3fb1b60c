"""The commands of the command line, with what each takes and what is said of it."""

import argparse
import datetime
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import commands
from jobs import settings as settings_file
from jobs.object_store import STORES
from jobs.stages import DOWNSTREAM, MAINTENANCE, STAGES

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def add_stages(into: "Commands", dated: argparse.ArgumentParser) -> None:
    of_night = _dated(dated, "the night")
    night = argparse.ArgumentParser(add_help=False, parents=[of_night])
    night.add_argument("--full", action="store_true", help="find all neighbours anew, also where neighbours.increments is set")
    night.add_argument(
        "--override", metavar="REASON", help="publish the night although a check holds it; the reason goes to table overrides"
    )
    night.add_argument("--by", metavar="WHO", default=None, help="who overrides (default: this user)")
    run = into.add_parser(
        "run", parents=[night], help="the whole night in one Spark session", description=f"The whole night: {', '.join(STAGES)}."
    )
    run.set_defaults(command=commands.stages, stages=list(STAGES), then=[])
    _add_each(into, night, STAGES, commands.stages, "in the order of a night")
    downstream = into.add_parser(
        "downstream",
        parents=[of_night],
        help="all that is made of a published night, in one Spark session",
        description=f"All that is made of a published night: {', '.join(DOWNSTREAM)}.",
    )
    downstream.set_defaults(command=commands.downstream, stages=list(DOWNSTREAM), then=[])
    _add_each(into, of_night, DOWNSTREAM, commands.downstream, "of those that are made of a published night")


def _dated(dated: argparse.ArgumentParser, what: str) -> argparse.ArgumentParser:
    """The options of commands that work on one night."""
    found = argparse.ArgumentParser(add_help=False, parents=[dated])
    found.add_argument("--date", required=True, type=_date, metavar="YYYY-MM-DD", help=what)
    found.add_argument(
        "--set", action="append", default=[], type=_override, metavar="KEY=VALUE", help="a setting for this run: audit.target_recall=0.97"
    )
    return found


def _add_each(
    into: "Commands",
    night: argparse.ArgumentParser,
    stages: Mapping[str, str],
    command: Callable[[argparse.Namespace], None],
    order: str,
) -> None:
    """A command for each of the stages, which takes further ones."""
    for stage, what in stages.items():
        one = into.add_parser(stage, parents=[night], help=what, description=f"{stage}: {what}. Further stages may follow, {order}.")
        one.add_argument("then", nargs="*", type=partial(_stage, stages), metavar="STAGE", help="further stages to run in the same session")
        one.set_defaults(command=command, stages=[stage])


def add_maintenance(into: "Commands", dated: argparse.ArgumentParser, with_settings: argparse.ArgumentParser) -> None:
    maintain = into.add_parser(
        MAINTENANCE,
        parents=[dated],
        help="keep the lake small: forget old nights, put small files together, free what nobody reads",
        description="Forgets the nights of each table that are older than [maintenance] of the settings says, but for those that a coming "
        "night may read; drops vectors that no item needs any more; puts small files together; removes files that have been unread for "
        "vacuum_days. Can be run beside a night, and twice: a second time it finds nothing to do. Not one of the stages of a night.",
    )
    maintain.add_argument(
        "--date",
        default=datetime.datetime.now(datetime.UTC).date(),
        type=_date,
        metavar="YYYY-MM-DD",
        help="the day it is done as of: the age of a night is counted back from it (default: today)",
    )
    maintain.add_argument(
        "--erase",
        action="store_true",
        help="then remove for good what people did who are forgotten: these tables' older versions cannot be read any more",
    )
    maintain.set_defaults(command=commands.maintain)
    forget = into.add_parser(
        "forget",
        parents=[with_settings],
        help="cut users off from all that they did: their pseudonyms are found no more",
        description="Destroys the keys of users' pseudonyms, at once and in every version of the table user_keys. What they did is "
        "nobody's from then on; `maintain --erase` removes it. Needs the key that users' ids are hashed with ($SHELFMATES_USER_KEY).",
    )
    forget.add_argument(
        "users",
        nargs="*",
        metavar="USER",
        help="ids (default: one a line from standard input, which no shell keeps)",
    )
    forget.set_defaults(command=commands.forget)


def add_reading(into: "Commands", with_settings: argparse.ArgumentParser) -> None:
    sql = into.add_parser(
        "sql",
        parents=[with_settings],
        help="ask the tables in SQL (DuckDB)",
        description="Runs SQL over the tables by their names; vectors are in the view item_vectors_unpacked. "
        "similar('a text or id', k := 10) is a table of the items that are most like it.",
    )
    sql.add_argument("query", help='for instance "SELECT count(*) FROM neighbours"; SHOW TABLES lists what there is')
    sql.add_argument(
        "--at", metavar="DATE|VERSION", help="only the night of this date, or the tables as of this version; each table counts its own"
    )
    sql.add_argument("--format", choices=["table", "csv", "json"], default="table", help="how rows are printed (default: table)")
    sql.set_defaults(command=commands.sql)
    tables = into.add_parser("tables", help="what each table and each column means, and questions to ask them, as Markdown")
    tables.set_defaults(command=commands.tables)
    similar = into.add_parser(
        "similar",
        parents=[with_settings],
        help="the items that are most like a text, or like one of them, at once",
        description="The items of a published night that are most like a text, read as a title, or like the item of an id, compared with "
        "all of the night by the similarity that is published. The first command for a night makes an index of it (search.index).",
    )
    similar.add_argument("query", help="a text, the id of an item, or - for several from the standard input, one a line")
    similar.add_argument("--k", type=int, default=10, help="items to find (default: 10)")
    similar.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the night (default: the latest published)")
    similar.add_argument(
        "--format", choices=["table", "csv", "json"], default="table", help="how they are printed; json: a line a query (default: table)"
    )
    similar.set_defaults(command=commands.similar)
    explain = into.add_parser(
        "explain",
        parents=[with_settings],
        help="why two items are similar: every part, what they share, where they differ",
        description="Of two items of a published night: their similarity and what each channel gives to it, the words and codes that carry "
        "it, their fields side by side, and the place of each in the other's list.",
    )
    explain.add_argument("items", nargs=2, metavar="ID", help="the ids of the two items")
    explain.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it too (png, svg or pdf)")
    explain.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the night (default: the latest published)")
    explain.set_defaults(command=commands.explain)
    evaluate = into.add_parser(
        "evaluate",
        parents=[with_settings],
        help="recall of the published neighbours against known pairs",
        description="recall@k: the share of true pairs whose match is among the k nearest published neighbours of its query.",
    )
    evaluate.add_argument("--truth", required=True, type=Path, metavar="CSV", help="file with the columns query_id and match_id")
    evaluate.add_argument("--k", default="1,5,10", help="ranks to report, separated by commas (default: 1,5,10)")
    evaluate.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the night (default: the latest published)")
    evaluate.set_defaults(command=commands.evaluate)
    report = into.add_parser(
        "report", parents=[with_settings], help="what the last nights did, what was refused, what neighbours look like"
    )
    report.set_defaults(command=commands.report)


def add_serving(into: "Commands", with_settings: argparse.ArgumentParser) -> None:
    sync = into.add_parser(
        "sync",
        parents=[with_settings],
        help="bring a SQLite file up to current_neighbours, by its change data feed",
        description="Applies what has changed in current_neighbours since the file was last brought up, in one transaction; "
        "the first time, and where the changes are not kept any more, the whole table.",
    )
    sync.add_argument("--to", required=True, type=Path, metavar="FILE", help="the SQLite file; it is made if it is not there")
    sync.set_defaults(command=commands.sync)


def add_tools(into: "Commands", with_settings: argparse.ArgumentParser) -> None:
    generate = into.add_parser(
        "generate",
        help="write a made-up catalogue with known truth",
        description="Writes feeds of two sources, several nights, known matches and known dirt, with the settings to run them. "
        "With --users also what people look at and buy, what they like, and what goes together. "
        "The same seed gives the same bytes.",
    )
    generate.add_argument("--items", type=int, default=2000, help="products in the main source (default: 2000)")
    generate.add_argument("--nights", type=int, default=2, help="consecutive nights (default: 2)")
    generate.add_argument(
        "--start", type=_date, default=datetime.date(2026, 1, 1), metavar="YYYY-MM-DD", help="first night (default: 2026-01-01)"
    )
    generate.add_argument("--seed", type=int, default=0, help="another seed, another catalogue (default: 0)")
    generate.add_argument("--dirt", type=float, default=0.02, help="share of rows with a fault (default: 0.02)")
    generate.add_argument("--change", type=float, default=0.01, help="share of items that change from night to night (default: 0.01)")
    generate.add_argument("--users", type=int, default=0, help="people who shop there; interactions.csv beside the feeds (default: 0)")
    generate.add_argument("--events", type=int, help="things that they do in one night, all together (default: 5 for each)")
    generate.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where feeds/, truth/ and shelfmates.toml go")
    generate.set_defaults(command=commands.generate)
    doctor = into.add_parser(
        "doctor", parents=[with_settings], help="look at Java, jars, model, GPU, disk, settings and feeds, and say what is wrong"
    )
    doctor.set_defaults(command=commands.doctor)
    setup = into.add_parser("setup", help="fetch what is missing of Java, the Delta jars and the JVM's class-data archive")
    setup.add_argument(
        "--store",
        action="append",
        default=[],
        choices=sorted(STORES),
        help="what Spark needs for lakes in this object store too",
    )
    setup.set_defaults(command=commands.setup)


def _stage(stages: Mapping[str, str], text: str) -> str:
    if text not in stages:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of these stages; there are {', '.join(stages)}")
    return text


def _override(text: str) -> tuple[str, str]:
    """The variable of the environment that would say the same."""
    key, is_given, value = text.partition("=")
    if not key or not is_given:
        raise argparse.ArgumentTypeError(f"{text!r} sets nothing; expected KEY=VALUE, as in neighbours.k=20")
    return settings_file.OVERRIDE_PREFIX + key.upper().replace(".", "__"), value


def _date(text: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date; expected YYYY-MM-DD") from None

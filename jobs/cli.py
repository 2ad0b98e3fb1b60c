"""The only command line. Airflow, docker and people all enter here; heavy packages are imported by the command that needs them."""

import argparse
import datetime
import getpass
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from jobs import settings as settings_file
from jobs.errors import SettingsError, ShelfmatesError
from jobs.keyboard import heeded
from jobs.night import Night, Release
from jobs.stages import DOWNSTREAM, ERASURE, MAINTENANCE, STAGES

EPILOG = f"""\
stages, in the order of a night; each can be run alone, or several in a row in one Spark session:
{chr(10).join(f"  {stage:<12}{what}" for stage, what in STAGES.items())}

stages after it, of the night once it is published; `shelfmates downstream` runs all of them:
{chr(10).join(f"  {stage:<12}{what}" for stage, what in DOWNSTREAM.items())}

examples:
  shelfmates generate --items 2000 --nights 2 --start 2026-11-20 --out build/demo
  shelfmates run --date 2026-11-20 --settings build/demo/shelfmates.toml
  shelfmates neighbours audit publish --date 2026-11-20 --settings build/demo/shelfmates.toml
  shelfmates publish --date 2026-11-20 --override "the range was cut on purpose" --settings build/demo/shelfmates.toml
  shelfmates downstream --date 2026-11-20 --settings build/demo/shelfmates.toml
  shelfmates sql "SELECT * FROM neighbours LIMIT 5" --settings build/demo/shelfmates.toml
  shelfmates similar "steel tea pot" --settings build/demo/shelfmates.toml
  shelfmates explain shop:A1 market:B2 --picture why.png --settings build/demo/shelfmates.toml
  shelfmates maintain --date 2026-11-22 --settings build/demo/shelfmates.toml

exit codes: 0 done; 2 settings or usage; 3 a source file; 4 night held back; 5 tables; 6 Java, jars, model or storage; 7 the night
is another's; 75 worth a retry; 130 stopped from the keyboard
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a ShelfmatesError is told in a few lines and becomes the exit code."""
    given = parser().parse_args(arguments)
    try:
        with heeded():
            given.command(given)
    except ShelfmatesError as error:
        print(f"shelfmates: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # the reader of a pipe (head, less) has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="shelfmates",
        description="Nightly product neighbours, as Delta tables.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    with_settings = argparse.ArgumentParser(add_help=False)
    with_settings.add_argument(
        "--settings", metavar="FILE", help="settings file (default: $SHELFMATES_SETTINGS, else shelfmates.toml in this folder)"
    )
    dated = argparse.ArgumentParser(add_help=False, parents=[with_settings])
    dated.add_argument("--run-id", metavar="ID", help="name of the run (default: manual__DATE); the stages of one run share it")
    dated.add_argument("--figures", action="store_true", help="end with one line of JSON that carries every figure, for a scheduler")
    _add_stages(commands, dated)
    _add_maintenance(commands, dated, with_settings)
    _add_reading(commands, with_settings)
    _add_serving(commands, with_settings)
    _add_tools(commands, with_settings)
    return root


def _add_stages(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", dated: argparse.ArgumentParser) -> None:
    of_night = _dated(dated, "the night")
    night = argparse.ArgumentParser(add_help=False, parents=[of_night])
    night.add_argument("--full", action="store_true", help="find all neighbours anew, also where neighbours.increments is set")
    night.add_argument(
        "--override", metavar="REASON", help="publish the night although a check holds it; the reason goes to table overrides"
    )
    night.add_argument("--by", metavar="WHO", default=None, help="who overrides (default: this user)")
    run = commands.add_parser(
        "run", parents=[night], help="the whole night in one Spark session", description=f"The whole night: {', '.join(STAGES)}."
    )
    run.set_defaults(command=_stages, stages=list(STAGES), then=[])
    _add_each(commands, night, STAGES, _stages, "in the order of a night")
    downstream = commands.add_parser(
        "downstream",
        parents=[of_night],
        help="all that is made of a published night, in one Spark session",
        description=f"All that is made of a published night: {', '.join(DOWNSTREAM)}.",
    )
    downstream.set_defaults(command=_downstream, stages=list(DOWNSTREAM), then=[])
    _add_each(commands, of_night, DOWNSTREAM, _downstream, "of those that are made of a published night")


def _dated(dated: argparse.ArgumentParser, what: str) -> argparse.ArgumentParser:
    """The options of commands that work on one night."""
    found = argparse.ArgumentParser(add_help=False, parents=[dated])
    found.add_argument("--date", required=True, type=_date, metavar="YYYY-MM-DD", help=what)
    found.add_argument(
        "--set", action="append", default=[], type=_override, metavar="KEY=VALUE", help="a setting for this run: audit.target_recall=0.97"
    )
    return found


def _add_each(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    night: argparse.ArgumentParser,
    stages: Mapping[str, str],
    command: Callable[[argparse.Namespace], None],
    order: str,
) -> None:
    """A command for each of the stages, which takes further ones."""
    for stage, what in stages.items():
        one = commands.add_parser(stage, parents=[night], help=what, description=f"{stage}: {what}. Further stages may follow, {order}.")
        one.add_argument("then", nargs="*", type=partial(_stage, stages), metavar="STAGE", help="further stages to run in the same session")
        one.set_defaults(command=command, stages=[stage])


def _add_maintenance(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", dated: argparse.ArgumentParser, with_settings: argparse.ArgumentParser
) -> None:
    maintain = commands.add_parser(
        MAINTENANCE,
        parents=[dated],
        help="keep the lake small: forget old nights, put small files together, free what nobody reads",
        description="Forgets the nights of each table that are older than [maintenance] of the settings says, but for those that a coming "
        "night may read; drops vectors that no item needs any more; puts small files together; removes files that have been unread for "
        "vacuum_days. Can be run beside a night, and twice: a second time it finds nothing to do. Not one of the stages of a night.",
    )
    maintain.add_argument(
        "--date",
        required=True,
        type=_date,
        metavar="YYYY-MM-DD",
        help="the day it is done as of: the age of a night is counted back from it",
    )
    maintain.add_argument(
        "--erase",
        action="store_true",
        help="then remove for good what people did who are forgotten: these tables' older versions cannot be read any more",
    )
    maintain.set_defaults(command=_maintain)
    forget = commands.add_parser(
        "forget",
        parents=[with_settings],
        help="cut users off from all that they did: their pseudonyms are found no more",
        description="Destroys the keys of users' pseudonyms, at once and in every version of the table user_keys. What they did is "
        "nobody's from then on; `maintain --erase` removes it. Needs the key that users' ids are hashed with ($SHELFMATES_USER_KEY).",
    )
    forget.add_argument("users", nargs="*", metavar="USER", help="ids as in the interactions (default: one a line from standard input)")
    forget.set_defaults(command=_forget)


def _add_reading(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", with_settings: argparse.ArgumentParser) -> None:
    sql = commands.add_parser(
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
    sql.set_defaults(command=_sql)
    tables = commands.add_parser("tables", help="what each table and each column means, and questions to ask them, as Markdown")
    tables.set_defaults(command=_tables)
    similar = commands.add_parser(
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
    similar.set_defaults(command=_similar)
    explain = commands.add_parser(
        "explain",
        parents=[with_settings],
        help="why two items are similar: every part, what they share, where they differ",
        description="Of two items of a published night: their similarity and what each channel gives to it, the words and codes that carry "
        "it, their fields side by side, and the place of each in the other's list.",
    )
    explain.add_argument("items", nargs=2, metavar="ID", help="the ids of the two items")
    explain.add_argument("--picture", type=Path, metavar="FILE.png", help="draw it too (png, svg or pdf)")
    explain.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the night (default: the latest published)")
    explain.set_defaults(command=_explain)
    evaluate = commands.add_parser(
        "evaluate",
        parents=[with_settings],
        help="recall of the published neighbours against known pairs",
        description="recall@k: the share of true pairs whose match is among the k nearest published neighbours of its query.",
    )
    evaluate.add_argument("--truth", required=True, type=Path, metavar="CSV", help="file with the columns query_id and match_id")
    evaluate.add_argument("--k", default="1,5,10", help="ranks to report, separated by commas (default: 1,5,10)")
    evaluate.add_argument("--date", type=_date, metavar="YYYY-MM-DD", help="the night (default: the latest published)")
    evaluate.set_defaults(command=_evaluate)
    report = commands.add_parser(
        "report", parents=[with_settings], help="what the last nights did, what was refused, what neighbours look like"
    )
    report.set_defaults(command=_report)


def _add_serving(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", with_settings: argparse.ArgumentParser) -> None:
    sync = commands.add_parser(
        "sync",
        parents=[with_settings],
        help="bring a SQLite file up to current_neighbours, by its change data feed",
        description="Applies what has changed in current_neighbours since the file was last brought up, in one transaction; "
        "the first time, and where the changes are not kept any more, the whole table.",
    )
    sync.add_argument("--to", required=True, type=Path, metavar="FILE", help="the SQLite file; it is made if it is not there")
    sync.set_defaults(command=_sync)


def _add_tools(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", with_settings: argparse.ArgumentParser) -> None:
    generate = commands.add_parser(
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
    generate.set_defaults(command=_generate)
    doctor = commands.add_parser(
        "doctor", parents=[with_settings], help="look at Java, jars, model, GPU, disk, settings and feeds, and say what is wrong"
    )
    doctor.set_defaults(command=_doctor)
    setup = commands.add_parser("setup", help="fetch what is missing of Java, the Delta jars and the JVM's class-data archive")
    setup.set_defaults(command=_setup)


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


def _in_order(given: argparse.Namespace, stages: Mapping[str, str]) -> list[str]:
    """The stages that were given. Raises SettingsError unless each is there once, in their order."""
    asked, order = [*given.stages, *given.then], list(stages)
    if asked != sorted(set(asked), key=order.index):
        raise SettingsError(f"stages given as {' '.join(asked)}", f"give each once, in this order: {' '.join(order)}")
    return asked


def _stages(given: argparse.Namespace) -> None:
    stages = _in_order(given, STAGES)
    if given.override is not None and (stages != ["publish"] or not given.override.strip()):
        raise SettingsError(
            "--override releases a night that its audit has held",
            'give it to publish alone, with a reason: publish --override "range was cut"',
        )
    from jobs.shift import work

    settings = settings_file.load(given.settings, os.environ | dict(given.set))
    if given.full:
        settings = settings.model_copy(update={"neighbours": settings.neighbours.model_copy(update={"increments": False})})
    release = Release(given.by or _user(), given.override) if given.override else None
    work(settings, Night(given.date, given.run_id or f"manual__{given.date}", release), stages, say_figures=given.figures)


def _downstream(given: argparse.Namespace) -> None:
    from jobs.shift import work

    stages, settings = _in_order(given, DOWNSTREAM), settings_file.load(given.settings, os.environ | dict(given.set))
    work(settings, Night(given.date, given.run_id or f"manual__{given.date}"), stages, say_figures=given.figures)


def _maintain(given: argparse.Namespace) -> None:
    from jobs.shift import work

    night = Night(given.date, given.run_id or f"manual__{given.date}")
    stages = [MAINTENANCE, ERASURE] if given.erase else [MAINTENANCE]
    work(settings_file.load(given.settings), night, stages, say_figures=given.figures)


def _forget(given: argparse.Namespace) -> None:
    from jobs.forget import forget

    users = given.users or [line.strip() for line in sys.stdin if line.strip()]
    print(forget(settings_file.load(given.settings), users))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the number of a user may have no name
        return f"user {os.getuid()}"


def _sql(given: argparse.Namespace) -> None:
    from jobs.sql import answer

    print(answer(settings_file.load(given.settings), given.query, at=given.at, form=given.format))


def _tables(given: argparse.Namespace) -> None:
    from jobs.dictionary import page

    print(page(), end="")


def _similar(given: argparse.Namespace) -> None:
    from jobs.similar import answers, shelf_of

    queries = (line.strip() for line in sys.stdin if line.strip()) if given.query == "-" else [given.query]
    for answer in answers(shelf_of(settings_file.load(given.settings), given.date), queries, given.k, given.format):
        print(answer, flush=True)


def _explain(given: argparse.Namespace) -> None:
    from jobs.explain import explain, told

    found = explain(settings_file.load(given.settings), given.items[0], given.items[1], given.date)
    print(told(found), flush=True)
    if given.picture:
        from jobs.picture import drawn

        drawn(found, given.picture)


def _evaluate(given: argparse.Namespace) -> None:
    from jobs.evaluate import evaluate

    try:
        ks = sorted({int(k) for k in given.k.split(",")})
    except ValueError:
        raise SettingsError(f"--k {given.k!r} is not a list of numbers", "write it like 1,5,10") from None
    print(evaluate(settings_file.load(given.settings), given.truth, ks, given.date))


def _report(given: argparse.Namespace) -> None:
    from jobs.report import report

    report(settings_file.load(given.settings))


def _sync(given: argparse.Namespace) -> None:
    from jobs.sync import sync

    print(sync(settings_file.load(given.settings), given.to))


def _generate(given: argparse.Namespace) -> None:
    from jobs.generate import generate

    made = {name: getattr(given, name) for name in ("seed", "dirt", "change", "users", "events")}
    print(generate(given.out, given.items, given.nights, given.start, **made))


def _doctor(given: argparse.Namespace) -> None:
    from jobs.doctor import examine

    findings = examine(given.settings)
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(
            f"{'ok   ' if finding.ok else 'WRONG'} {finding.name:<{width}} {finding.found}"
            + (f"\n      → {finding.remedy}" if finding.remedy else "")
        )
    if not all(finding.ok for finding in findings):
        sys.exit(6)


def _setup(given: argparse.Namespace) -> None:
    from jobs.toolchain import set_up

    set_up()

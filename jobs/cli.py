"""The only command line. Airflow, docker and people all enter here."""

import argparse
import os
import sys
from collections.abc import Sequence

from jobs import arguments
from jobs.errors import ShelfmatesError
from jobs.keyboard import heeded
from jobs.stages import DOWNSTREAM, STAGES

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


def main(given_arguments: Sequence[str] | None = None) -> None:
    """Runs one command; a ShelfmatesError is told in a few lines and becomes the exit code."""
    given = parser().parse_args(given_arguments)
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
    arguments.add_stages(commands, dated)
    arguments.add_maintenance(commands, dated, with_settings)
    arguments.add_reading(commands, with_settings)
    arguments.add_serving(commands, with_settings)
    arguments.add_tools(commands, with_settings)
    return root

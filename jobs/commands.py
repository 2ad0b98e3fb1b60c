"""What each command of the command line does. Heavy packages are imported by the command that needs them."""

import argparse
import getpass
import os
import sys
from collections.abc import Mapping

from jobs import settings as settings_file
from jobs.errors import SettingsError
from jobs.night import Night, Release
from jobs.stages import DOWNSTREAM, ERASURE, MAINTENANCE, STAGES


def _in_order(given: argparse.Namespace, stages: Mapping[str, str]) -> list[str]:
    """The stages that were given. Raises SettingsError unless each is there once, in their order."""
    asked, order = [*given.stages, *given.then], list(stages)
    if asked != sorted(set(asked), key=order.index):
        raise SettingsError(f"stages given as {' '.join(asked)}", f"give each once, in this order: {' '.join(order)}")
    return asked


def stages(given: argparse.Namespace) -> None:
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


def downstream(given: argparse.Namespace) -> None:
    from jobs.shift import work
    from jobs.user_key import user_key

    stages, settings = _in_order(given, DOWNSTREAM), settings_file.load(given.settings, os.environ | dict(given.set))
    if settings.interactions and "collect" in stages:
        user_key()  # it is told before others have worked for a minute
    work(settings, Night(given.date, given.run_id or f"manual__{given.date}"), stages, say_figures=given.figures)


def maintain(given: argparse.Namespace) -> None:
    from jobs.shift import work

    night = Night(given.date, given.run_id or f"manual__{given.date}")
    stages = [MAINTENANCE, ERASURE] if given.erase else [MAINTENANCE]
    work(settings_file.load(given.settings), night, stages, say_figures=given.figures)


def forget(given: argparse.Namespace) -> None:
    from jobs.forget import forget

    if not given.users and sys.stdin.isatty():
        print("forget: one user's id a line, then Ctrl-D", file=sys.stderr, flush=True)
    users = given.users or [line.strip() for line in sys.stdin if line.strip()]
    print(forget(settings_file.load(given.settings), users))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the number of a user may have no name
        return f"user {os.getuid()}"


def sql(given: argparse.Namespace) -> None:
    from jobs.sql import answer

    print(answer(settings_file.load(given.settings), given.query, at=given.at, form=given.format))


def tables(given: argparse.Namespace) -> None:
    from jobs.dictionary import page

    print(page(), end="")


def similar(given: argparse.Namespace) -> None:
    from jobs.similar import answers, shelf_of

    queries = (line.strip() for line in sys.stdin if line.strip()) if given.query == "-" else [given.query]
    for answer in answers(shelf_of(settings_file.load(given.settings), given.date), queries, given.k, given.format):
        print(answer, flush=True)


def explain(given: argparse.Namespace) -> None:
    from jobs.explain import explain, told

    found = explain(settings_file.load(given.settings), given.items[0], given.items[1], given.date)
    print(told(found), flush=True)
    if given.picture:
        from jobs.picture import drawn

        drawn(found, given.picture)


def evaluate(given: argparse.Namespace) -> None:
    from jobs.evaluate import evaluate

    try:
        ks = sorted({int(k) for k in given.k.split(",")})
    except ValueError:
        raise SettingsError(f"--k {given.k!r} is not a list of numbers", "write it like 1,5,10") from None
    print(evaluate(settings_file.load(given.settings), given.truth, ks, given.date))


def report(given: argparse.Namespace) -> None:
    from jobs.report import report

    report(settings_file.load(given.settings))


def sync(given: argparse.Namespace) -> None:
    from jobs.sync import sync

    print(sync(settings_file.load(given.settings), given.to))


def generate(given: argparse.Namespace) -> None:
    from jobs.generate import generate

    made = {name: getattr(given, name) for name in ("seed", "dirt", "change", "users", "events")}
    print(generate(given.out, given.items, given.nights, given.start, **made))


def doctor(given: argparse.Namespace) -> None:
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


def setup(given: argparse.Namespace) -> None:
    from jobs.toolchain import set_up

    set_up(given.store)

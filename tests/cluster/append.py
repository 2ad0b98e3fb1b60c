"""Commits a row to one table, over and over, as one of several drivers: `python -m tests.cluster.append WHO TIMES`.

With --told, what the table holds instead: its rows, and how often another driver than before has made the next commit.
"""

import itertools
import json
import sys
from datetime import UTC, date, datetime

from jobs import settings as settings_file
from jobs.address import delta_table
from jobs.lake_root import open_lake
from jobs.night import Night
from jobs.session import open_session
from jobs.tables import OVERRIDES


def append(who: str, times: int) -> None:
    settings, night = settings_file.load(), Night(date(2026, 1, 1), who)
    spark = open_session(settings, who)
    try:
        lake = open_lake(spark, settings)
        lake.create(OVERRIDES)
        for number in range(times):
            row = (night.date, night.run_id, who, str(number), datetime.now(UTC), [])
            lake.append(OVERRIDES, lake.frame(OVERRIDES, [row]), night)
    finally:
        spark.stop()


def told() -> str:
    table = delta_table(f"{settings_file.load().lake.root}/{OVERRIDES.name}")
    rows = {(row["who"], row["why"]) for row in table.to_pyarrow_table(columns=["who", "why"]).to_pylist()}
    by = [json.loads(commit.get("userMetadata") or "{}").get("run_id") for commit in reversed(table.history())]
    commits = [who for who in by if who]
    turns = sum(one != other for one, other in itertools.pairwise(commits))
    return json.dumps({"rows": len(rows), "commits": len(commits), "turns": turns})


if __name__ == "__main__":
    if sys.argv[1:] == ["--told"]:
        print(told())
    else:
        append(sys.argv[1], int(sys.argv[2]))

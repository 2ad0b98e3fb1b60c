"""Every week: keeps the lake small, so that nights stay fast and storage does not grow with every one of them.

    maintain

* **maintain** forgets the nights of each table that are older than `[maintenance]` of the settings says, drops vectors that no item needs
  any more, puts small files together, and removes files that nobody has been able to read for `vacuum_days`. Nights that a coming one may
  read are kept whatever their age, and the published tables read as before but for the nights that are forgotten.

**Beside a night.** It leaves alone what a night at work reads or writes, so it needs no pause of the DAG `catalogue`. Where both change
one table at the same moment nothing is lost, and the task is retried.

**Rerun.** Any time, as often as wanted: a second run finds nothing to do. Weeks that were missed are made up for by the next run.

**Another day.** Trigger the DAG and fill in *date*: ages are counted back from it. Without it a run takes the day of its schedule. The same
by command: `airflow dags trigger maintenance --conf '{"date": "2026-11-22"}'`, or without Airflow `shelfmates maintain --date DATE`.

**People who are forgotten.** `shelfmates forget USER` cuts a user off from what was done; with *Erase* in the form this DAG then removes it
from every version and file of the tables. Their older versions cannot be read any more, so no other run does it.

**Where things are.** What was forgotten, dropped and freed is in the task's log and in the table `runs`, stage `maintain`.
"""

from airflow.sdk import DAG, Param, timezone
from shelfmates.operator import DEFAULTS, SparkJobOperator

with DAG(
    dag_id="maintenance",
    description="Forgets old nights, puts small files together, frees what nobody reads",
    doc_md=__doc__,
    schedule="0 12 * * 0",  # UTC, Sundays: hours after one night and before the next
    start_date=timezone.datetime(2020, 1, 1),
    catchup=False,  # one run makes up for all that were missed
    max_active_runs=1,  # two would put the same files together
    tags={"shelfmates", "weekly"},
    default_args=DEFAULTS,
    params={
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Day",
            description="The day it is done as of: ages are counted back from it. Empty: the day of the schedule.",
        ),
        "erase": Param(
            False,
            type="boolean",
            title="Erase",
            description="Then remove for good what people did who are forgotten: older versions of these tables cannot be read any more.",
        ),
    },
):
    SparkJobOperator(task_id="maintain", stages=["maintain"], options=["{{ '--erase' if params.get('erase') else '' }}"])

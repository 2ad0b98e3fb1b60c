"""The night: source files in, published tables of product neighbours out.

    load >> embed >> neighbours >> publish

* **load** (prepare, ingest, validate, clean, weigh) reads the source files, quarantines broken rows with their reasons, cleans the rest and
  counts how rare their terms are, unless that is known. Fails on a missing or unreadable file and on a feed with too much to refuse; the
  message names source, file and row.
* **embed** computes the vectors of texts not seen before. Vectors already stored are kept, whatever happens.
* **neighbours** finds the k most similar items of every item and measures the recall.
* **publish** (audit, publish) checks the night against its bounds, then makes it visible, in one commit a table. A night that a check
  holds waits here for a person, and the published tables are as they were: `audit_results` has the figures.

**A held night.** The task waits under *Required Actions*, which names the checks that hold it, for 20 hours. *Publish* publishes the night
as it is; the reason, and who gave it, go to the table `overrides`. *Reject*, or no answer, fails the task: mend the cause and clear what
has to run again, or loosen the bound. Who may not edit the DAG's runs, as a viewer, may not answer. `airflow dags test` asks nobody: the
night fails.

**Who is told.** When a task has failed for good, when a night is held, and when a night is not done 8 hours after its logical date (the
triggerer tells of that, and not of nights that were asked for later), one message each goes to the connections `shelfmates_webhook` (JSON,
as Slack reads it: host `https://…`, password the secret end of the path) and `shelfmates_mail` (smtp, with `to` and `from_email` in its
extra), where they exist.

**Rerun.** Clear the failed task with its downstream: every stage replaces what it wrote for the same night, and readers see the old night
or the new one, never a part. A task is retried by itself only where a second try may help (another writer, a lost process); any other
failure waits for a person.

**Another night.** Trigger the DAG and fill in *date*; without it a run takes its partition's or its logical date. The same by command:
`airflow dags trigger catalogue --conf '{"date": "2026-11-20"}'`. A range, to its last moment:
`airflow backfill create --dag-id catalogue --from-date 2026-11-14 --to-date 2026-11-20T23:59 --max-active-runs 1`
(`--reprocess-behavior completed` to work again on nights that are done). A backfill never moves `current_neighbours` back to an older
night.

**Other settings for one run.** The form has *Lists* (all neighbours anew), *Target recall*, and *Dry run*: everything but publishing, with
`publish` skipped at the end, so that no asset has an event. A dry run that a check holds fails. To publish one after all:
`shelfmates audit publish --date DATE --run-id RUN_ID`.

**Where things are.** What runs is `shelfmates <stages> --date DATE --settings FILE`, which works without Airflow too; the settings are
`$SHELFMATES_SETTINGS`, else `shelfmates.toml` of the checkout, and name the sources, the lake and the folder of the Data Docs page. Spark
is that of the connection `spark_default`. Every stage leaves a row in the table `runs`; what was refused is in `quarantined_items`.
Tasks run in the pool `$SHELFMATES_POOL`, else in the default one. Links on a task's page lead to the explorer, to Data Docs where
`$SHELFMATES_DOCS_URL` says that they are served, and to Spark's history server where `[spark.conf]` has `spark.yarn.historyServer.address`.
The events of the assets `neighbours` and `current_neighbours` carry the night's figures.
"""

from datetime import timedelta

from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference, Param, timezone
from shelfmates.alerts import deadline_missed
from shelfmates.assets import CURRENT_NEIGHBOURS, NEIGHBOURS
from shelfmates.nightly import NightlyDAG
from shelfmates.operator import DEFAULTS, SparkJobOperator
from shelfmates.publish import PublishOperator

# the form's choices, as the program's own options; to every task, since a night is made and judged by the same settings
CHOICES = [
    "{{ '--full' if params.get('lists') == 'full' else '' }}",
    "{{ '--set=audit.target_recall=%s' % params['target_recall'] if params.get('target_recall') else '' }}",
]

with NightlyDAG(
    dag_id="catalogue",
    description="Source files in, published tables of product neighbours out",
    doc_md=__doc__,
    schedule="0 3 * * *",  # UTC: feeds of a day are in by then; the night is the day it runs on
    start_date=timezone.datetime(2020, 1, 1),  # no backfill reaches further back
    catchup=False,
    max_active_runs=1,  # a night is audited against the one before it
    tags={"shelfmates", "nightly"},
    default_args=DEFAULTS | {"options": CHOICES},
    deadline=DeadlineAlert(
        # not DAGRUN_QUEUED_AT: with it Airflow 3.3.2 fails to clear any task, as it would put the deadline off
        reference=DeadlineReference.DAGRUN_LOGICAL_DATE,
        interval=timedelta(hours=8),  # by 11:00 UTC somebody waits for last night's neighbours
        callback=AsyncCallback(deadline_missed),
    ),
    params={
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description="The night to work on (snapshot_date). Empty: the date of the schedule or of the partition.",
        ),
        "lists": Param(
            "as settings",
            type="string",
            enum=["as settings", "full"],
            title="Lists",
            description="full: all lists of neighbours are made anew, also where the settings want last night's brought up to date.",
        ),
        "target_recall": Param(
            None,
            type=["null", "number"],
            minimum=0.5,
            maximum=1,
            title="Target recall",
            description="The recall to search for and to be held to, 0.5 to 1. Empty: that of the settings.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="Everything but publishing: the night is made and audited, the published tables stay as they are.",
        ),
    },
):
    load = SparkJobOperator(task_id="load", stages=["prepare", "ingest", "validate", "clean", "weigh"])
    embed = SparkJobOperator(task_id="embed", stages=["embed"])
    neighbours = SparkJobOperator(task_id="neighbours", stages=["neighbours"])
    publish = PublishOperator(task_id="publish", audit_only="{{ params.get('dry_run') or '' }}", outlets=[NEIGHBOURS, CURRENT_NEIGHBOURS])

    load >> embed >> neighbours >> publish

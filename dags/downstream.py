"""What the neighbours are for: tables that are made of every night once it is published.

    nights >> [deduplicate, position, substitute]

* **nights** lists the nights to work on: every one in the events that started the run, which may be several, as after a backfill.
* **deduplicate** finds the rows that are one product: tables `matches` and `duplicates`.
* **position** holds every price against those of the product's neighbours: table `price_positions`.
* **substitute** finds what can be had in place of products that are out of stock, or in no feed any more: table `substitutes`.

Each task works on one night and makes tables of its own, of published tables alone: none waits for another, and one that fails leaves the
others' tables, and its own, as they are. A table is checked before it is put in place; the checks are in `audit_results`.

**Rerun.** Clear a task at any time: it replaces what it wrote for the same night. A task is retried by itself only where a second try may
help (another writer, a lost process).

**Another night.** Trigger the DAG and fill in *date*. The same by command:
`airflow dags trigger downstream --conf '{"date": "2026-11-20"}'`, or without Airflow `shelfmates downstream --date 2026-11-20`. Airflow
backfills no DAG that assets start: the events of a backfill of `catalogue` start this one.

**Where things are.** The settings are those of `catalogue`, sections `[duplicates]`, `[price_positions]` and `[substitutes]`. Every stage
leaves a row in the table `runs`.
"""

from airflow.sdk import DAG, Param
from shelfmates.assets import DUPLICATES, MATCHES, NEIGHBOURS, PRICE_POSITIONS, SUBSTITUTES
from shelfmates.events import nights
from shelfmates.operator import DEFAULTS, SparkJobOperator

with DAG(
    dag_id="downstream",
    description="Duplicates, price positions and substitutes, of every published night",
    doc_md=__doc__,
    schedule=[NEIGHBOURS],
    catchup=False,
    max_active_runs=1,  # nights that are published meanwhile come together in the next run
    tags={"shelfmates", "nightly"},
    default_args=DEFAULTS,
    params={
        "date": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Night",
            description="The published night to work on (snapshot_date). Empty: those of the events that started the run.",
        )
    },
):
    published = nights()
    SparkJobOperator.partial(task_id="deduplicate", stages=["deduplicate"], outlets=[MATCHES, DUPLICATES]).expand(date=published)
    SparkJobOperator.partial(task_id="position", stages=["position"], outlets=[PRICE_POSITIONS]).expand(date=published)
    SparkJobOperator.partial(task_id="substitute", stages=["substitute"], outlets=[SUBSTITUTES]).expand(date=published)

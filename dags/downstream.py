"""What the neighbours are for: tables that are made of every night once it is published.

    nights >> night: [deduplicate, position, substitute, collect >> [recommend, bundle]]

* **nights** lists the nights to work on: every one in the events that started the run, which may be several, as after a backfill.
* **deduplicate** finds the rows that are one product: tables `matches` and `duplicates`.
* **position** holds every price against those of the product's neighbours: table `price_positions`.
* **substitute** finds what can be had in place of products that are out of stock, or in no feed any more: table `substitutes`.
* **collect** reads what people did with products on that day, under pseudonyms: table `interactions`. What is no event is in
  `quarantined_interactions`, with its reasons.
* **recommend** finds for everyone who did something of late what is likely to please, new products too: table `recommendations`.
* **bundle** finds what is bought together, and does not stand in for each other: table `bundles`.

Each night is a group of its own, whatever becomes of the others. A task makes tables of its own, of published tables; one that fails leaves
its tables, and those of the others, as they are. Without `[interactions]` in the settings the last three are skipped.

**People.** Users are known by pseudonyms alone, made with a key: the password of the connection `shelfmates_users`, else
`$SHELFMATES_USER_KEY` of the workers. Keep it: another one is refused, since with it everybody would be somebody new. It is in no table and
no log.

**Checks.** A table is checked before it is put in place; what was found is in `audit_results`.

**Rerun.** Clear a task at any time: it replaces what it wrote for the same night. A task is retried by itself only where a second try may
help (another writer, a lost process).

**Another night.** Trigger the DAG and fill in *date*. The same by command:
`airflow dags trigger downstream --conf '{"date": "2026-11-20"}'`, or without Airflow `shelfmates downstream --date 2026-11-20`. Airflow
backfills no DAG that assets start: the events of a backfill of `catalogue` start this one.

**Where things are.** The settings are those of `catalogue`, sections `[duplicates]`, `[price_positions]`, `[substitutes]`,
`[interactions]`, `[recommendations]` and `[bundles]`. Every stage leaves a row in the table `runs`.
"""

from airflow.sdk import DAG, Param, task_group
from shelfmates.assets import BUNDLES, DUPLICATES, INTERACTIONS, MATCHES, NEIGHBOURS, PRICE_POSITIONS, RECOMMENDATIONS, SUBSTITUTES
from shelfmates.events import nights
from shelfmates.operator import DEFAULTS, SparkJobOperator

USER_KEY = {"SHELFMATES_USER_KEY": "shelfmates_users"}  # variable of the program -> connection whose password it gets

with DAG(
    dag_id="downstream",
    description="Duplicates, price positions, substitutes, recommendations and bundles, of every published night",
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

    @task_group
    def night(date: str) -> None:
        """One published night, whatever becomes of the others."""
        SparkJobOperator(task_id="deduplicate", stages=["deduplicate"], date=date, outlets=[MATCHES, DUPLICATES])
        SparkJobOperator(task_id="position", stages=["position"], date=date, outlets=[PRICE_POSITIONS])
        SparkJobOperator(task_id="substitute", stages=["substitute"], date=date, outlets=[SUBSTITUTES])
        # one at a time: two nights that meet a user for the first time at once would each give a pseudonym
        collect = SparkJobOperator(
            task_id="collect", stages=["collect"], date=date, outlets=[INTERACTIONS], secrets=USER_KEY, max_active_tis_per_dag=1
        )
        recommend = SparkJobOperator(task_id="recommend", stages=["recommend"], date=date, outlets=[RECOMMENDATIONS])
        bundle = SparkJobOperator(task_id="bundle", stages=["bundle"], date=date, outlets=[BUNDLES])

        collect >> [recommend, bundle]

    night.expand(date=nights())

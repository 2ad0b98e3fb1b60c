"""A task that submits one whole night, as Airflow's does, without Airflow around it: `python -m tests.soak.submit DATE RUN_ID`.

What the program says goes to standard output; the exit code is the program's failure, 1, or 0.
"""

import sys

from airflow.sdk.exceptions import AirflowException
from shelfmates.operator import SparkJobOperator

from jobs.stages import STAGES


def main() -> None:
    date, run_id = sys.argv[1:]
    try:
        SparkJobOperator(task_id="night", stages=list(STAGES), date=date, run_id=run_id).execute({"outlet_events": {}})
    except AirflowException as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()

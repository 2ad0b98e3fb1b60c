"""A DAG with a deadline that can also be run without a scheduler."""

from typing import Any

from airflow.sdk import DAG


class NightlyDAG(DAG):
    """As Airflow's, but for `airflow dags test`, where Airflow 3.3.2 looks a deadline up that only a scheduler's DAG has, and fails as the
    run succeeds: there it has none, and nobody would be told anyway."""

    def test(self, *arguments: Any, **options: Any) -> Any:
        """Runs the DAG in this process."""
        self.deadline = None
        return super().test(*arguments, **options)

"""Which nights the events of an asset tell of. Airflow starts one run for all events that have come together."""

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException


@task
def nights(params: Mapping[str, Any] | None = None, triggering_asset_events: Mapping[Any, Iterable[Any]] | None = None) -> list[str]:
    """The form's date, else every night in the events that started the run, each once, in order."""
    if date := (params or {}).get("date"):
        return [date]
    events = [event for of_asset in (triggering_asset_events or {}).values() for event in of_asset]
    if silent := [event for event in events if "snapshot_date" not in (event.extra or {})]:
        raise AirflowFailException(
            f"{len(silent)} of {len(events)} events tell no night: expected snapshot_date in their extra\n"
            "  → start the run again and fill in 'date' (YYYY-MM-DD), the night to work on"
        )
    if not events:
        raise AirflowFailException(
            "this run has no night: no event started it, and the form's field Night (date) is empty\n"
            "  → start it again and fill in 'date' (YYYY-MM-DD), the published night to work on"
        )
    return sorted({event.extra["snapshot_date"] for event in events})

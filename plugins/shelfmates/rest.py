"""Airflow's REST API, as far as a process of the same machine needs it."""

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT = 30.0  # seconds; on a busy machine the first answer of an API server takes some


def token(url: str, user: str = "", password: str = "") -> str:
    """What a user shows with every request; without a user, of an API server that lets everybody in. Raises OSError."""
    credentials = {"username": user, "password": password} if user else None
    return str(answer(f"{url}/auth/token", body=credentials)["access_token"])


def answer(address: str, shown: str = "", body: Mapping[str, Any] | None = None, method: str | None = None) -> dict[str, Any]:
    """What whom shows this token is given, by a GET, with a body by a POST, or by another method. Raises OSError if nobody listens, or it
    is refused."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {shown}"} if shown else {})
    asked = urllib.request.Request(address, None if body is None else json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(asked, timeout=TIMEOUT) as response:
        found: dict[str, Any] = json.load(response)
    return found

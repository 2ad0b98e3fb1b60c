"""What is read of docker/compose.yaml, of which the cluster is made: that all of it is understood."""

import re

import pytest

from tests.cluster.events import skew
from tests.cluster.runbook import commands
from tests.cluster.services import FILE, ComposeError, filled, one_shots, services

EMPTY = re.compile(r"^([A-Z_0-9]+)=$", re.MULTILINE)


def test_what_env_example_leaves_empty_is_all_that_services_need() -> None:
    names = EMPTY.findall((FILE.parent / ".env.example").read_text(encoding="utf-8"))
    found = services(dict.fromkeys(names, "made up"))
    assert one_shots(found) == {"bucket", "migrate"}
    assert all(found[name].health for name in found if name not in one_shots(found))


def test_services_come_after_those_that_they_need() -> None:
    order = list(services(dict.fromkeys(EMPTY.findall((FILE.parent / ".env.example").read_text(encoding="utf-8")), "made up")).values())
    for place, service in enumerate(order):
        assert set(service.needs) <= {before.name for before in order[:place]}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${SET}", "here"),
        ("a ${SET:-default} b", "a here b"),
        ("${UNSET:-default}", "default"),
        ("${EMPTY:-default}", "default"),  # as compose has it
        ("${EMPTY-default}", ""),
        ("$$HOME and ${UNSET}", "$HOME and "),
    ],
)
def test_variables(text: str, expected: str) -> None:
    assert filled(text, {"SET": "here", "EMPTY": ""}) == expected


def test_a_variable_that_has_to_be_set() -> None:
    with pytest.raises(ComposeError, match="KEY is not set: see the example"):
        filled({"a": ["${KEY:?see the example}"]}, {"KEY": ""})


def test_commands_of_several_lines() -> None:
    block = "# not this\ncd docker\n\ndocker compose exec a b \\\n    --c\ndocker compose exec a sql 'SELECT\n  1'\n"
    assert list(commands(block)) == ["cd docker", "docker compose exec a b \\\n    --c", "docker compose exec a sql 'SELECT\n  1'"]


def test_no_task_is_even() -> None:
    assert skew([]) == 1

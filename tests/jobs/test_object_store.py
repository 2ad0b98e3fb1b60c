"""What is told of an object store, and to whom: its address to Spark's properties, its keys to nobody but the executors."""

import re

import pytest

from jobs import object_store
from jobs.sections import SECRET

ENVIRONMENT = {
    "AWS_ENDPOINT_URL": "http://store:7070",
    "AWS_REGION": "eu-central-1",
    "AWS_ACCESS_KEY_ID": "the-id",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
    "AWS_SESSION_TOKEN": "the-token",
    "HOME": "/home/shop",
}


@pytest.mark.parametrize(
    ("address", "name"),
    [("s3a://bucket/lake", "s3"), ("abfss://box@shop.example/lake", "abfs"), ("abfs://box@shop/lake", "abfs"), ("gs://bucket/lake", "gs")],
)
def test_the_store_of_an_address(address: str, name: str) -> None:
    found = object_store.store_of(address)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("address", ["/data/lake", "lake", "hdfs://node:8020/lake", "s3://bucket/lake", "file:///lake"])
def test_an_address_in_no_store(address: str) -> None:
    assert object_store.store_of(address) is None


def test_properties_of_spark_hold_no_key() -> None:
    conf = object_store.spark_conf(ENVIRONMENT, single_writer=False)
    assert conf["spark.hadoop.fs.s3a.endpoint"] == "http://store:7070"
    assert conf["spark.hadoop.fs.s3a.endpoint.region"] == "eu-central-1"
    assert conf["spark.hadoop.fs.s3a.path.style.access"] == "true"
    assert not [name for name, value in conf.items() if value in {"the-id", "the-secret", "the-token"}]


def test_a_store_of_amazons_own_needs_no_address() -> None:
    assert object_store.spark_conf({}, single_writer=False) == {"spark.delta.logStore.s3a.impl": "shelfmates.S3LogStore"}
    assert (
        object_store.spark_conf({"AWS_DEFAULT_REGION": "eu-west-1"}, single_writer=True)["spark.hadoop.fs.s3a.endpoint.region"]
        == "eu-west-1"
    )


def test_executors_are_given_keys_where_there_are_any() -> None:
    assert object_store.worker_variables(ENVIRONMENT) == {
        "AWS_ENDPOINT_URL_S3": "http://store:7070",
        **{name: ENVIRONMENT[name] for name in ("AWS_REGION", *object_store.KEYS)},
    }
    assert object_store.keys({"AWS_ACCESS_KEY_ID": ""}) == object_store.worker_variables({}) == {}  # a role of the machine's gives them


def test_a_variable_of_s3_alone_comes_first() -> None:
    assert object_store.endpoint({"AWS_ENDPOINT_URL": "http://other:1", "AWS_ENDPOINT_URL_S3": "http://store:2/"}) == "http://store:2"


def test_a_role_of_a_pod_is_named_to_hadoop_unless_there_are_keys() -> None:
    role = {"AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token"}
    assert object_store.spark_conf(role, single_writer=False)["spark.hadoop.fs.s3a.aws.credentials.provider"].endswith(
        ".WebIdentityTokenFileCredentialsProvider"
    )
    assert "spark.hadoop.fs.s3a.aws.credentials.provider" not in object_store.spark_conf(ENVIRONMENT | role, single_writer=False)


@pytest.mark.parametrize(
    ("name", "hidden"),
    [
        ("spark.hadoop.fs.s3a.access.key", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("AWS_ACCESS_KEY_ID", True),
        ("fs.azure.account.key.shop.dfs.core.windows.net", True),
        ("fs.gs.auth.service.account.private.key", True),
        ("spark.executorEnv.SHELFMATES_USER_KEY", True),
        ("spark.io.encryption.keySizeBits", False),
        ("spark.sql.shuffle.partitions", False),
        ("fs.s3a.endpoint", False),
    ],
)
def test_which_properties_are_hidden(name: str, hidden: bool) -> None:
    assert bool(re.search(SECRET, name)) == hidden

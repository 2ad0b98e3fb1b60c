"""Object stores a lake may lie in: what Spark needs for each, and how it is told of the one that the environment names.

Addresses and regions are settings like others. Keys are not: they are in the environment of the driver, and never in a property of
Spark's, which its pages, event logs and command lines would show.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

HADOOP = "3.5.0"  # of Spark's own hadoop-client


Jar = tuple[str, str, str]  # organisation, artifact, version


@dataclass(frozen=True)
class Store:
    """`schemes` of its addresses, the first one Hadoop's own name, and the `jars` that Spark lacks."""

    name: str
    schemes: tuple[str, ...]
    jars: tuple[Jar, ...]


STORES = {
    store.name: store
    for store in (
        Store(
            "s3",
            ("s3a",),
            (
                ("org.apache.hadoop", "hadoop-aws", HADOOP),
                ("software.amazon.awssdk", "bundle", "2.35.4"),  # that which this hadoop-aws was built with
                ("software.amazon.s3.analyticsaccelerator", "analyticsaccelerator-s3", "1.3.1"),
            ),
        ),
        Store(
            "abfs",
            ("abfss", "abfs"),
            (
                ("org.apache.hadoop", "hadoop-azure", HADOOP),
                ("org.apache.hadoop.thirdparty", "hadoop-shaded-guava", "1.5.0"),
                ("org.wildfly.openssl", "wildfly-openssl", "2.2.5.Final"),
                ("org.hdrhistogram", "HdrHistogram", "2.1.12"),
            ),
        ),
        Store("gs", ("gs",), (("org.apache.hadoop", "hadoop-gcp", HADOOP),)),
    )
}

BUILT_IN = {"file", "hdfs", "viewfs", "webhdfs", "swebhdfs"}  # schemes of file systems that Spark's own hadoop-client has

LOG_STORE = "shelfmates.S3LogStore"  # compiled at set-up from S3LogStore.scala
LOG_STORE_CONF = "spark.delta.logStore.s3a.impl"  # Delta's property; its own log store there is one for a single driver
CONDITIONAL_CONF = "spark.hadoop.fs.s3a.create.conditional.enabled"  # Hadoop's property
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ENDPOINT, REGION = "AWS_ENDPOINT_URL", "AWS_REGION"
WEB_IDENTITY = "AWS_WEB_IDENTITY_TOKEN_FILE"  # variable of a pod whose service account has a role


def store_of(address: str) -> Store | None:
    """The store that an address lies in; None for a disk, and for what Spark itself knows or nobody does."""
    scheme = address.partition("://")[0] if "://" in address else ""
    return next((store for store in STORES.values() if scheme in store.schemes), None)


def in_s3(address: str) -> bool:
    """Whether an address is one of S3, by any of its names."""
    return address.startswith(("s3://", "s3a://", "s3n://"))


def hadoops(address: str) -> str:
    """The address as Hadoop writes it, where it is one of S3."""
    return re.sub(r"^s3n?://", "s3a://", address)


def amazons(address: str) -> str:
    """The address as everybody else does."""
    return re.sub(r"^s3[an]://", "s3://", address)


def endpoint(environment: Mapping[str, str]) -> str:
    """The address of a store of one's own; empty for Amazon's. The variable of S3 alone comes before that of all of Amazon's services."""
    return (environment.get(f"{ENDPOINT}_S3") or environment.get(ENDPOINT) or "").rstrip("/")


def region(environment: Mapping[str, str]) -> str | None:
    return environment.get(REGION) or environment.get("AWS_DEFAULT_REGION")


def spark_conf(environment: Mapping[str, str], *, single_writer: bool) -> dict[str, str]:
    """Spark's properties for S3, without its keys. A single writer's store may know no conditions: nothing is put on one."""
    conf = {CONDITIONAL_CONF: "false"} if single_writer else {LOG_STORE_CONF: LOG_STORE}
    if address := endpoint(environment):
        conf |= {
            "spark.hadoop.fs.s3a.endpoint": address,
            "spark.hadoop.fs.s3a.path.style.access": "true",  # stores of one's own seldom have a host name for every bucket
        }
    if place := region(environment):
        conf["spark.hadoop.fs.s3a.endpoint.region"] = place
    if environment.get(WEB_IDENTITY) and not keys(environment):  # Hadoop by itself looks no further than the machine's own role
        conf["spark.hadoop.fs.s3a.aws.credentials.provider"] = (
            "software.amazon.awssdk.auth.credentials.WebIdentityTokenFileCredentialsProvider"
        )
    return conf


def keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The keys that the environment has, by variable; empty where the platform gives them (a role of the machine, of a pod). A driver's
    JVM takes them for Hadoop's configuration by itself, and with that they come to its executors."""
    return {name: environment[name] for name in KEYS if environment.get(name)}


def worker_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What Python workers on other machines have to know to read feeds that lie in S3."""
    told = {f"{ENDPOINT}_S3": endpoint(environment), REGION: region(environment)}
    return keys(environment) | {name: value for name, value in told.items() if value}

# Where nights are computed: Spark's master, workers and executors. From the root of the repository:
#   docker build --file docker/spark.Dockerfile --tag shelfmates-spark:0.1.0 .
# --build-arg VARIANT=cuda for machines with NVIDIA GPUs, STORE=abfs or gs for lakes that are not in S3.

# the newest Debian with Java 17; Python as in the Airflow image, since Spark refuses workers of another minor version than the driver's
FROM python:3.11.15-slim-bookworm AS uv
RUN pip install --no-cache-dir --target /uv uv==0.13.9

FROM python:3.11.15-slim-bookworm
# hadolint ignore=DL3008 # Debian keeps the newest version of a package only
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home shelfmates
WORKDIR /opt/shelfmates
ENV PATH=/opt/shelfmates/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1

# the packages are a layer of their own, which a change of the program leaves as it is
ARG VARIANT=cpu
COPY pyproject.toml uv.lock ./
COPY docker/packages.sh docker/
RUN --mount=type=bind,from=uv,source=/uv,target=/uv --mount=type=cache,target=/root/.cache/uv \
    PATH=/uv/bin:$PATH UV_LINK_MODE=copy docker/packages.sh "$VARIANT" --no-default-groups --no-install-project

# the program, which set-up is a part of; that of a night comes with its driver
ARG STORE=s3
COPY README.md ./
COPY --chown=shelfmates:0 jobs jobs
COPY --chown=shelfmates:0 expectations expectations
RUN --mount=type=bind,from=uv,source=/uv,target=/uv --mount=type=cache,target=/root/.cache/uv \
    PATH=/uv/bin:$PATH UV_LINK_MODE=copy docker/packages.sh "$VARIANT" --no-default-groups \
    && shelfmates setup --store "$STORE" \
    && rm .venv/shelfmates/classes-*.jsa \
    && install --directory --owner shelfmates work \
    && chown --recursive shelfmates jobs expectations
COPY docker docker

USER 50000
ENTRYPOINT ["/opt/shelfmates/docker/entrypoint.sh"]

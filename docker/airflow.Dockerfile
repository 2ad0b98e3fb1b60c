# Where nights are scheduled: Airflow's parts, and Spark's drivers in its tasks. From the root of the repository:
#   docker build --file docker/airflow.Dockerfile --tag shelfmates-airflow:0.1.0 .
# --build-arg STORE=abfs or gs for lakes that are not in S3.

# the newest Debian with Java 17; Python as in the Spark image, since Spark refuses workers of another minor version than the driver's
FROM python:3.11.15-slim-bookworm AS uv
RUN pip install --no-cache-dir --target /uv uv==0.13.9

FROM python:3.11.15-slim-bookworm
# user and group are those that Airflow's Helm chart runs its containers as
# hadolint ignore=DL3008 # Debian keeps the newest version of a package only
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 50000 --gid 0 --create-home shelfmates \
    && printf '#!/bin/sh\nexec "$@"\n' >/entrypoint \
    && chmod 755 /entrypoint # the Helm chart's health checks go through it
WORKDIR /opt/shelfmates
ENV PATH=/opt/shelfmates/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/opt/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/shelfmates/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/shelfmates/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False

# the packages are a layer of their own, which a change of the program leaves as it is
ARG VARIANT=cpu
COPY pyproject.toml uv.lock ./
COPY docker/packages.sh docker/
RUN --mount=type=bind,from=uv,source=/uv,target=/uv --mount=type=cache,target=/root/.cache/uv \
    PATH=/uv/bin:$PATH UV_LINK_MODE=copy docker/packages.sh "$VARIANT" --no-dev --group cluster --extra s3 --no-install-project

# the user owns the program: numba keeps what it compiles of it beside it, and the driver sends both to executors
ARG STORE=s3
COPY README.md ./
COPY --chown=shelfmates:0 jobs jobs
COPY --chown=shelfmates:0 expectations expectations
RUN --mount=type=bind,from=uv,source=/uv,target=/uv --mount=type=cache,target=/root/.cache/uv \
    PATH=/uv/bin:$PATH UV_LINK_MODE=copy docker/packages.sh "$VARIANT" --no-dev --group cluster --extra s3 \
    && shelfmates setup --store "$STORE" \
    && rm .venv/shelfmates/classes-*.jsa \
    && install --directory --owner shelfmates "$AIRFLOW_HOME" data-docs search \
    && chown --recursive shelfmates jobs expectations
COPY dags dags
COPY plugins plugins
COPY docker docker

USER 50000

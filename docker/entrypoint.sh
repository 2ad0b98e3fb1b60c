#!/bin/bash
# What a container of the Spark image does, by its first argument:
#   master                 the master of a standalone cluster
#   worker spark://…:7077  a worker of it, with $SPARK_WORKER_CORES and $SPARK_WORKER_MEMORY
#   executor               an executor in a Kubernetes pod, as Spark's scheduler there has told it in SPARK_*
# Anything else is run as it is.
set -euo pipefail

spark_home=$(python -c 'import importlib.util; print(*importlib.util.find_spec("pyspark").submodule_search_locations)')
export SPARK_HOME=$spark_home
work=/opt/shelfmates/work
# the pages of workers and drivers, whose names nobody outside knows, are reached through the master's
export SPARK_DAEMON_JAVA_OPTS="-Dspark.ui.reverseProxy=true${SPARK_DAEMON_JAVA_OPTS:+ $SPARK_DAEMON_JAVA_OPTS}"

case "${1:-}" in
master)
    exec "$spark_home/bin/spark-class" org.apache.spark.deploy.master.Master --host "$(hostname)" --port 7077 --webui-port 8080
    ;;
worker)
    export SPARK_LOCAL_DIRS=${SPARK_LOCAL_DIRS:-$work} # of shuffles; Spark's own choice is /tmp
    exec "$spark_home/bin/spark-class" org.apache.spark.deploy.worker.Worker --host "$(hostname)" --webui-port 8081 \
        --work-dir "$work" "${@:2}"
    ;;
executor)
    options=()
    while IFS= read -r -d '' variable; do # SPARK_JAVA_OPT_0=…, one option each, in the order of their numbers
        if [[ $variable =~ ^SPARK_JAVA_OPT_([0-9]+)= ]]; then
            options[BASH_REMATCH[1]]=${variable#*=}
        fi
    done </proc/self/environ
    cd "$work" # what the driver sends is unpacked here, and imported from here
    classes="${SPARK_CLASSPATH:+$SPARK_CLASSPATH:}$spark_home/jars/*"
    classes="${SPARK_CONF_DIR:-/opt/spark/conf}:${HADOOP_CONF_DIR:+$HADOOP_CONF_DIR:}$classes"
    exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" "${options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" -cp "$classes" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
*)
    exec "$@"
    ;;
esac

#!/bin/bash
# Airflow's database as this version wants it, and the user `admin`. May be run again at any time: a user who is there stays as is.
set -euo pipefail

airflow db migrate
# asked for twice, and given by a pipe: command lines are everybody's
printf '%s\n' "$ADMIN_PASSWORD" "$ADMIN_PASSWORD" \
    | airflow users create --username admin --firstname Shop --lastname Admin --email admin@localhost --role Admin

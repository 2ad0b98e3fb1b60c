"""A small real cluster on one Linux machine, on request and not part of CI: hosts of their own, PostgreSQL, an S3 store, Spark, Airflow."""

"""What Airflow needs to know of Shelfmates beside the DAGs. The program itself is in `jobs/` and knows nothing of Airflow."""

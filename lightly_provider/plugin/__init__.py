"""The page "Lightly" in Airflow's navigation: the datasets that this Airflow's DAGs manage (Airflow 3.1 and newer)."""

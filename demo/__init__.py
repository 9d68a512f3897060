"""The two things that the Makefile shows: an onboarding from end to end, and Airflow to explore by hand."""

"""Apache Airflow provider for Lightly: from a bucket of images or videos in S3 to a curated dataset."""

__version__ = "0.1.0"

"""S3 and IAM: locations, regions, credentials and policies."""

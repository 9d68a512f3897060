"""S3 and IAM as the provider sees them: locations, regions, credentials and policies."""

"""From S3's event notifications to one manifest per dataset, without losing an upload."""

"""Object stores as repositories: S3, Azure Blob Storage, Google Cloud Storage."""

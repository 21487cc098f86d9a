"""Roots on disk or S3: Parquet shards, atomic commits, locks, contents of clips, errors of storage."""

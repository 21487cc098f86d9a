"""From Parquet to matrices: tiers joined on the clip, scaled, with scores and splits."""

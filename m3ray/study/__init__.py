"""The study: its tables as lists of variants, its trials, its statistics."""

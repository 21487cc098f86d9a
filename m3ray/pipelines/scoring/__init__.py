"""New clips scored, bundles evaluated, scores over time."""

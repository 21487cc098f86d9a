"""Checks of a job's request before Ray, torch and scikit-learn are imported."""

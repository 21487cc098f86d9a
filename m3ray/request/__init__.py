"""What a job is asked for, checked before Ray, torch and scikit-learn are imported."""

"""Reports: tables, figures and the page, from what a root holds. Ray is not needed."""

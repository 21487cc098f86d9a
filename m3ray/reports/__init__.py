"""Reports: tables, figures and the page of what a root holds; runs without Ray."""

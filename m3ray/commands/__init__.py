"""The command `m3ray`: subcommands for people at a terminal; `jobs/*.py` are the same jobs for `ray job submit`."""

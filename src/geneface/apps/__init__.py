"""The command line; `cli` puts it together, one file a group of commands."""

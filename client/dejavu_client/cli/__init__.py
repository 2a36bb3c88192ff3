"""The command line `dejavu`. Each command is imported on first use."""

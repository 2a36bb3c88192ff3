"""The command line `dejavu`; each command is loaded when it is asked for."""

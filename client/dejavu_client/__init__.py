"""The typed client, the poller and the command line."""

"""Checks of an installation: what a client can find out about its servers, the poller and the page."""

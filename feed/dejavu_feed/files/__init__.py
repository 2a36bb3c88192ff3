"""Reads recorded games from files, of this project's format or another project's."""

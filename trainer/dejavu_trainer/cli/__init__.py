"""The command dejavu-trainer."""

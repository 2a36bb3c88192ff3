"""The command line `dejavu`: its commands, what they print, the doctor, and the tools of assistants."""

"""The supervisor: signals, worker processes, the port that they share. No gRPC in here, and no import in this file."""

"""The NBA's games as they come. Knows no gRPC and no numpy, and imports nothing else of the project."""

"""The Open Inference Protocol: forecasts as tensors. No module of it knows dejavu.v1."""

"""The forecaster of a bundle: its models, combined into forecasts."""

from dejavu_models.forecaster.forecaster import Forecaster

__all__ = ["Forecaster"]

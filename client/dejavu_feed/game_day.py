"""The day of a game; see `dejavu_common.game_day`."""

from dejavu_common.game_day import day_bounds, game_day

__all__ = ["day_bounds", "game_day"]

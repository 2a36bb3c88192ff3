"""Output for people and files: forecasts, scorecards, listings, the live table, CSV and parquet."""

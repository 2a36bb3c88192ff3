"""What people and files are shown: forecasts, scorecards, lists, the live table, CSV and parquet."""

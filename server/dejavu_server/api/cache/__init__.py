"""The cache of what-ifs behind the API: CacheService, and how PredictionService uses it."""

"""Point forecasts: linear models, nearest neighbours (Dejavu), LSTM, and their weighted ensemble."""

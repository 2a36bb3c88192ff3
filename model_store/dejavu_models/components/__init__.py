"""Point forecasts: linear models, and beside them nearest neighbours (Dejavu) and the LSTM."""

"""Point forecasts: linear models, nearest neighbours (Dejavu) and the LSTM, and the ensemble that weighs them."""

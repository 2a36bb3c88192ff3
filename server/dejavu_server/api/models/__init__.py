"""ModelService: the models of a server, and the changes of which of them answers."""

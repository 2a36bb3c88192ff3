"""ModelService: the models of a server, and changes of the model that answers."""

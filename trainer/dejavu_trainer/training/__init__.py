"""Models made of training games, and the distributions of what they leave."""

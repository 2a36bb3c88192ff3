"""Text output of models, of their changes and of comparisons."""

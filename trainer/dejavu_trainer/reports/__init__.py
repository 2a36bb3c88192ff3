"""Reports of fits and evaluations as text, HTML and plots."""

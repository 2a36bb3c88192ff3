"""What was fitted and found, as text, HTML and plots."""

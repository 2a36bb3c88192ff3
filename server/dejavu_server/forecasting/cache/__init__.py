"""Cache of what-ifs: answers for equal requests, kept while their inputs are unchanged."""

"""HTTP as the gateway speaks it: connections and their limits, requests, answers, and the server that runs them."""

"""HTTP of the gateway: connections and their limits, requests, answers, and the server."""

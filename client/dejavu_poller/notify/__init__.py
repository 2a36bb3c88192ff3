"""Notifications: rules over the stream of forecasts and the states of games, and their delivery to targets.

A notifier follows the streams of a server and checks the rules of a file after each event. A rule is told once a game.
Any number of notifiers may run with the same file: each notification is claimed in the ledger's database before it is
sent, and confirmed afterwards (docs/watch.md).

| file | contents |
|---|---|
| `rules.py` | the file of rules: its form, its defaults, its errors |
| `conditions.py` | what is known of a game; when each kind of rule holds, also of a silent feed or poller; texts |
| `delivery.py` | requests to targets, as each takes them, and signatures; claims, attempts, retries and limits |
| `notifier.py` | the streams and the rules |
"""

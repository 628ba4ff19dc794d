"""The one thread that owns the firewall, and what waits for it.

    keeper.py   takes events one by one, carries out the effects, publishes the view
    mailbox.py  where other threads put events, bounded
    backlog.py  commands to the inspectors and the store that could not be delivered yet

Knows the border of the firewall (events, effects, view), not what is behind it.
"""

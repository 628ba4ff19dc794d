"""What becomes of a frame: the inspector's whole behaviour, without a socket, a clock or a process.

    inspection.py      Inspection.frame(raw, observed, now) -> Outcome; what everything else serves
    judge.py           messages to rulings, by the verdict table, remembered until the table changes
    conversations.py   who asked whom over UDP and ICMP, so that answers can be told from requests
    denials.py         how often somebody is denied, so that a flood is answered by the switch
    infrastructure.py  names and leases, read from copies of infrastructure traffic
    observations.py    what is reported to the controller, counted and bounded

Used by the inspector process and, unchanged, by replay and by tests.
"""

"""What Graphwall would have made of traffic that was recorded: the same code, in the time of the recording.

    survey.py      who is in a capture, and what they are to each other (a first pass)
    switch.py      a switch in memory: flows, their timeouts, connection tracking
    rehearsal.py   the firewall, the inspection and that switch, playing together
    accesslog.py   the other kind of recording: access logs of the VSL in CSV
    findings.py    what came of it, counted and as a stream

Everything that learns, asks, allows and denies is the firewall's own and the inspector's own. What a
recording cannot say is filled in as it must have been: hosts are introduced to the switch when they
first appear, and whoever was cut off connects anew, since in the recording he went on.
"""

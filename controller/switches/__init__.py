"""OpenFlow switches: where they connect, and what is said to them.

gate.py      the listener and the connections, which can be ended
session.py   one connected switch, from the first greeting to the end
reading.py   all flows of a switch, read again and again
openflow.py  flows as OpenFlow messages and back
"""

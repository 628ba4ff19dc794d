"""The firewall without a network: events in, effects out, time is a parameter. Pure.

    firewall.py     Firewall: handle(event, now) -> effects; view(now) -> SiteView
    hosts.py        which device is where, and whether it may be: packets, leases, bindings
    learning.py     observations and learning phases: what the model gains by itself
    decisions.py    what people decide: approve, deny, undo, once, expiry; outcome.py: what became of it
    tending.py      what people do beside: learn again, rename, move, block, pause
    adopting.py     whole models: like another device (likeness.py), or imported (importing.py)
    impostors.py    names that are made to be taken for another
    state.py        the model, and all that follows from a change of it
    enforcement.py  which flows each switch is asked for, and which of them are in force
    ledger.py       what a switch should hold, and what it was read to hold; checks.py puts it right
    fabric.py       ports, links, trunks and trees; topology.py: paths through them
    requests.py     cards for the site manager; views.py: the picture for people

Its border is controller/events.py and controller/view.py.
"""

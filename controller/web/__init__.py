"""The HTTP API: the site as JSON, and commands for it.

    api.py         puts the application together: routes, errors, authentication
    reading.py     what can be asked           commanding.py   what can be done
    looking.py     one look at the site, and only if it has changed
    review.py      what of what was learnt deserves a look, pure    mediated.py    who hears whom, pure
    installed.py   flows in the words of a switch's tools, pure
    changes.py     server-sent events          why.py          "why is this so?", pure
    deltas.py      what has changed in the graph, pure
    values.py      the JSON that differs from the view's own fields
    metrics.py     the site for Prometheus     guard.py        who may ask at all, and how much
    signing.py     sessions, invitations, people and tokens; membership.py: their JSON
    members.py     who is signed in, and who may be; password.py, throttle.py: how guesses are checked
    asking.py      who asks, for the routes     pages.py       the page's files, in page/
    site.py        what this package needs from the rest of the controller
    server.py      uvicorn in a thread of its own
    token.py       the secret that programs on this machine show

Knows nothing of switches, flows or SQLite. Every string from the network is data: it leaves as JSON.
"""

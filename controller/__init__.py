"""Graphwall: a self-learning firewall for IoT services, enforced in an OpenFlow switch.

How data flows, always in one direction:

    switch ──events──▶ app ──▶ firewall ──effects──▶ app ──▶ switch, inspector, store
    inspector ─observations─▶ app            web, cli ──commands──▶ app ──▶ firewall
                                             web, cli ◀──SiteView── firewall

Where to look:

    dpi/          what did this frame say?                                   pure
    model/        who may talk to whom: devices, services, relationships     pure
    topology.py   links between switches, shortest paths, spanning tree      pure
    config.py     site.yaml as a checked value                               pure
    flows.py      the switch's tables as values; compile, look up, compare   pure
    verdicts.py   the table that the inspector judges by                     pure
    events.py     what happened, and what is to be done                      pure
    view.py       the site at one moment, for reading                        pure
    firewall.py   handle(event, now) -> effects; view() -> SiteView          pure
    openflow.py   flows to OpenFlow messages and back
    link.py       the line between controller and inspector
    app.py        the os-ken application: events in, effects out
    inspector.py  the DPI process at the switch's inspection ports
    attach.py     prepares a bridge of Open vSwitch
    store.py      SQLite: model, decisions, audit log
    web/          HTTP API, event stream, page
    cli.py        the commands; the only place that wires parts together

The import rule, checked by a test: cli → app | inspector | store | web | attach → openflow | link →
firewall → view → events → flows | verdicts → model | topology | config → dpi. Never up, never
sideways. What is marked pure imports no os_ken, sockets, threads, clocks, files or logging.
"""

"""Graphwall: a self-learning firewall for IoT services, enforced in an OpenFlow switch.

How data flows, always in one direction:

    switch ──events──▶ app ──▶ firewall ──effects──▶ app ──▶ switch, inspector, store
    inspector ─observations─▶ app            web, cli ──commands──▶ app ──▶ firewall
                                             web, cli ◀──SiteView── firewall

Where to look, from the command line down; a module imports only from below it:

    cli.py commands/      the commands; `run` wires the parts together
    replay/               the firewall and the inspection in the time of a recording            pure
    launch.py app.py      the os-ken application: events of switches in, effects out
    switches/             connections of switches, flows as OpenFlow messages
    inspector/            the DPI process at the inspection ports; its judgement/ is            pure
    keeper/               the one thread that owns the firewall, and what waits for it
    store/                SQLite: model, decisions, log
    web/                  HTTP API, event stream, page

    firewall/             handle(event, now) -> effects; view(now) -> SiteView                  pure
    view.py events.py     the values at the firewall's border                                   pure
    words.py              sentences for people                                                  pure
    lookalike.py          names that are made to be taken for another                           pure
    people.py             who may look and decide                                               pure
    verdicts.py           the table that the inspector judges by                                pure
    flows/                the model as flows of five tables; look up, compare                   pure
    model/                who may talk to whom: devices, services, relationships                pure
    config.py             site.yaml as a checked value                                          pure
    captures/             pcap and pcapng files, and what their frames say                      pure
    dpi/                  what did this frame say?                                              pure

What is marked pure imports no os_ken, sockets, threads, clocks, files or logging. The exact layers are
a contract in pyproject.toml, checked by a test.
"""

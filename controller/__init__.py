"""Graphwall: a self-learning firewall for IoT services, enforced in an OpenFlow switch.

How data flows, always in one direction:

    switch ──events──▶ app ──▶ firewall ──effects──▶ app ──▶ switch, inspector, store
    inspector ─observations─▶ app            web, cli ──commands──▶ app ──▶ firewall
                                             web, cli ◀──SiteView── firewall

Where to look, from the command line down; a module imports only from below it:

    cli.py run.py client.py display.py   the commands; `run` wires the parts together
    launch.py app.py session.py gate.py  the os-ken application: switches come, go, and are written to
    keeper.py mailbox.py backlog.py      the one thread that owns the firewall, and what waits for it
    inspector.py tap.py supervisor.py    the DPI process at the inspection ports, and who keeps it alive
    judgement/                           what the inspector does with a frame                        pure
    web/                                 HTTP API, event stream, page
    store.py rows.py                     SQLite: model, decisions, log
    attach.py                            prepares a bridge of Open vSwitch
    openflow.py link.py                  flows as OpenFlow messages; the line to the inspector

    firewall.py                          handle(event, now) -> effects; view(now) -> SiteView        pure
      hosts.py learning.py decisions.py    what changes the model: packets, observations, people
      state.py                             the model, and all that follows from a change of it
      enforcement.py fabric.py             what each switch is asked for; ports, links, trunks
      requests.py words.py views.py        cards, sentences, the picture for people
    events.py view.py                    the values at the firewall's border                         pure
    compile.py flows.py                  the model as flows of five tables; look up, compare         pure
    verdicts.py                          the table that the inspector judges by                      pure
    model/                               who may talk to whom: devices, services, relationships      pure
    topology.py config.py                links and paths; site.yaml as a checked value               pure
    dpi/                                 what did this frame say?                                    pure

What is marked pure imports no os_ken, sockets, threads, clocks, files or logging. The exact layers are
a contract in pyproject.toml, checked by a test.
"""

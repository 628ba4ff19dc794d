"""The DPI process at the inspection and copy ports of the switches.

    process.py     the loop: frames in, frames out, observations up
    judgement/     what becomes of a frame                                                pure
    tap.py         the ports, as AF_PACKET sockets
    link.py        the line between controller and inspector
    supervisor.py  the controller's side: starts the process, keeps it alive and up to date

The process judges from its own copy of the verdict table. It knows nothing of how the controller
decides, and needs CAP_NET_RAW and nothing else.
"""

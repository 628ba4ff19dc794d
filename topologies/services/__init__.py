"""The emulated services: small real programs that speak real protocols through their well-kept libraries.

Each runs as a process of its own on a Mininet host. It is told what to do by `programs.Spec`, writes one
JSON line for everything it does or sees, keeps its visible state (is the door open?) in a JSON file, takes
commands on a Unix socket, retries with growing pauses and ends on SIGTERM. None knows of the firewall.
"""

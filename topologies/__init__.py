"""The laboratory: networks described in YAML, built in Mininet on Open vSwitch, with real services on them.

It stands beside the firewall and plays the world that the firewall protects; it must not know how the
firewall works, and uses it from outside, as any user does.

    schema       topologies/*.yaml as checked values
    machine      what this machine has for a laboratory, and lacks
    network      hosts, switches and links in Mininet (nodes: what of Mininet is bent)
    native       the programs that are not ours: broker, DHCP, DNS
    marks        what belongs to a laboratory, and how to remove it after a crash
    manager      places, starts, stops, updates and migrates services (the role of DS2OS in the paper)
    laboratory   wires network and manager together
    control      the same from another process, over a Unix socket
    site         the site.yaml that fits a topology
    services/    the programs that run on the hosts
    cli          python -m topologies
"""

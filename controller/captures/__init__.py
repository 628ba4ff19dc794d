"""Captures of network traffic: what is in such a file, and what its frames say.

    reader.py      pcap and pcapng, plain or gzipped, as captured frames; damage is told, never guessed over
    link.py        what each kind of link puts before IP, as an Ethernet frame
    dissection.py  frames to messages with their two ends, by the dissectors of dpi/

A capture is hostile input like any frame. The readers that exist (dpkt, scapy, python-pcapng) give out
the torso of a truncated frame as a frame without a word, or stop without saying where; none bounds what
a length field makes it read, and one is under a licence that does not go with ours.
"""

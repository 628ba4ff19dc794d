"""Deep packet inspection: what did this frame say? Pure: bytes in, values out, time is a parameter.

    frame.py      Ethernet … UDP and TCP headers
    connection.py one TCP connection as the byte stream that its server will read; stream.py: all of them
    datagrams.py  UDP, and the few messages that are spread over several datagrams (assembly.py)
    registry.py   all protocols as data; recognition by content
    refusal.py    the frames that end a denied conversation: TCP resets, ICMP prohibited; craft.py builds them
    message.py    what every dissector finds; dissector.py: the shapes in which it says so
    cursor.py     takes binary messages apart; framed.py: streams of messages that say how long they are

and one file for each protocol, some with another that knows its encoding or its names (cbor.py,
opcua_values.py, bacnet_names.py) or that two share (http.py: http1.py, http2.py). To add one: write
`name.py` beside them (its stream class or its datagram function, raising only Malformed), add one
line to PROTOCOLS in registry.py, a test file tests/unit/dpi/test_name.py with its examples, and a
capture.
"""

"""The model as flows of five tables. Pure values.

flow.py      Flow, Match, Action; look a packet up, compare two sets of flows
notation.py  a flow in words: as the tools of a switch write it
compile.py   what each device, relationship and link needs in which table
"""

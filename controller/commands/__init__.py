"""What the commands of `graphwall` do; cli.py parses their words.

run.py      `run`: configuration, store, application, inspector and API, wired together and taken down
client.py   every command that asks a running controller, over its HTTP API
display.py  what they print
attach.py   `attach`: prepares a bridge of Open vSwitch, and undoes it
"""

"""The demonstrator: plays the paper's scenarios on a laboratory behind a running Graphwall, and checks them.

firewall     a `graphwall run` of its own, asked over its HTTP API as any program would
report       what is shown, and which promises were kept
stage        a laboratory and a firewall together
scenarios    what is played: learning, new-battery, malicious-update, migration
"""

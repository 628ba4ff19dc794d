"""What survives: the model, the decisions and the audit log, in SQLite.

store.py  opens, upgrades, backs up; one transaction for what belongs together
rows.py   the tables, and how each record is written and read
accounts.py  people, sessions, invitations and programs
text.py   any text as text that a database holds
"""

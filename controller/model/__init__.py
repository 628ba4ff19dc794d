"""Who may talk to whom: devices, services, relationships and the graphs that they make."""

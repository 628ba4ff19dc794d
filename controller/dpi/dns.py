"""Being written right now by a second pair of hands (see git log); do not write this file."""

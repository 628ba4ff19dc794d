"""What did this frame say? One file per protocol; bytes in, messages out."""

"""Decoded clips: the prepare stage, and the splits that it writes."""

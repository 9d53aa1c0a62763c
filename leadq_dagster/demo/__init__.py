"""The demo: leadq whole, on a simulated firm, on one machine."""

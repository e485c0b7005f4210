"""The rules of the protocol page, played to any interchange."""

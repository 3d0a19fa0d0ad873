counting: bool
"""Whether this is a debug build, where allocations are counted and can be made to fail."""

def live_allocations() -> int:
    """Allocations of all servers and parsers in this process that are not freed yet; 0 unless `counting`."""

def fail_after(allocations: int) -> int:
    """Let so many more allocations succeed and the one after them fail, once; -1 for none. Only when `counting`.

    Returns what was left of the number given before; below 0 when the failure has been.
    """

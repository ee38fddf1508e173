"""What the modules of `make health` say of a thing."""


def row(about, state, what):
    """What was looked at, its state (ok, warning, problem), and what was found."""
    return {"about": about, "state": state, "what": what}

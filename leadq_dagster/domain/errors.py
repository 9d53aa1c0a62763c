"""Three kinds of failure, named by what another try can do about them.

Each caller with a retry policy (Dagster, HTTP) maps these three once.
"""


class LeadqError(Exception):
    """A failure with a sentence for the person who reads it; never with a secret or personal datum."""


class TransientError(LeadqError):
    """Another try may succeed with nothing changed: a cut connection, a replica that is behind."""


class PermanentError(LeadqError):
    """Every further try fails the same way until somebody changes something, which the text names."""


class RefusedError(LeadqError):
    """The request itself is not acceptable, and the text says what would be."""


class ForbiddenError(RefusedError):
    """Who asks may not do this."""


class NotFoundError(RefusedError):
    """What the request names does not exist."""


class ConflictError(RefusedError):
    """The request came too late or contradicts another: nothing was moved by it."""

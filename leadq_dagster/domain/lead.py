"""A lead as the source shows it at the moment it is handed out: what the rule looks at, and whom to call."""

from dataclasses import dataclass, field

from leadq_dagster.domain.facts import UserFacts


@dataclass(frozen=True)
class Contact:
    """Whom an agent calls, as the source has it; None for NULL.

    Its repr shows none of it, so that no log, error or traceback tells more than that there is one.
    """

    first_name: str | None = field(repr=False)
    last_name: str | None = field(repr=False)
    phone_number: str | None = field(repr=False)
    email_address: str | None = field(repr=False)


@dataclass(frozen=True)
class SourceLead:
    """A user read for a call, of one moment: their facts, and their contact."""

    facts: UserFacts
    contact: Contact

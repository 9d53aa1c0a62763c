"""What the firm deals in: claims, what it asks its clients for, and the names that people have.

Every name, address and phone number is invented; the phone range is the one kept for fiction.
"""

from dataclasses import dataclass
from random import Random

CLAIM_TYPES = (
    "motor_finance",
    "flight_delay",
    "housing_disrepair",
    "irresponsible_lending",
)
LENDERS = (
    "Northgate Motor Credit",
    "Ostler & Pike",
    "Blue Heron Finance",
    "Brücke Kredit",
    None,
)
INTRODUCERS = ("website", "radio", "friend", "partner-north", None)


@dataclass(frozen=True, slots=True)
class Kind:
    """Something the firm asks for, and whether its agents call about it (`is_counted`).

    The firm says so for each kind by hand; this list is its own and is shared with nobody.
    """

    type: str
    reason: str | None
    is_counted: bool


SIGNATURE = Kind("signature", "base requirement for claim.", False)
REQUESTS = (
    Kind("id_document", "base requirement for claim.", True),
    Kind("id_document", "the lender asks for a clearer copy.", False),
    Kind("id_document", None, False),
    Kind("proof_of_address", "base requirement for claim.", True),
    Kind("bank_statement", "the lender disputes a payment.", True),
    Kind("finance_agreement", None, True),
    Kind("questionnaire", "base requirement for claim.", True),
)
PAPERWORK = (
    Kind("vehicle_registration", "base requirement for claim.", False),
    Kind("cfa", "base requirement for claim.", False),
    Kind("solicitor_letter_of_authority", None, False),
    Kind("letter_of_authority", "base requirement for claim.", False),
)
REJECTION_REASONS = ("illegible", "out of date", "belongs to somebody else")

_FIRST_NAMES = (
    *(
        "Ada",
        "Bertram",
        "Carys",
        "Dilys",
        "Edwin",
        "Farida",
        "Gethin",
        "Hollis",
        "Imogen",
        "Jarek",
    ),
    *(
        "Kezia",
        "Lorcan",
        "Maud",
        "Nuala",
        "Orla",
        "Percy",
        "Quentin",
        "Rhona",
        "Silas",
        "Tamsin",
    ),
)
_LAST_NAMES = (
    *(
        "Applegarth",
        "Birdwhistle",
        "Cobbleton",
        "Dunmarrow",
        "Elderwick",
        "Fennimore",
        "Gossamer",
    ),
    *(
        "Hartlebury",
        "Inkpen",
        "Juniper",
        "Kettlewick",
        "Larkhill",
        "Merrowdown",
        "Nettleship",
    ),
)
ODD_NAMES = (
    "Zoë",
    "O'Hara",
    "Łucja",
    "Ann 😀",
    "𠮷野",
    "🦊",
    'Jo "Jay"',
    "Back\\slash",
    "山田",
)
_PHONE_NOTATIONS = (
    "+447700900{:03d}",
    "07700900{:03d}",
    "07700 900 {:03d}",
    "0044 7700 900{:03d}",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a person says they are."""

    first_name: str
    last_name: str
    email_address: str
    phone_number: str
    introducer: str | None


def invent_identity(rng: Random, user_id: int, odd_share: float) -> Identity:
    """A person who does not exist; about `odd_share` of them have a name that breaks careless programs."""
    first_name, last_name = rng.choice(_FIRST_NAMES), rng.choice(_LAST_NAMES)
    email_address = f"{first_name}.{last_name}.{user_id}@example.com".lower()
    if rng.random() < odd_share:
        first_name = rng.choice(ODD_NAMES)
    phone_number = rng.choice(_PHONE_NOTATIONS).format(rng.randrange(1000))
    return Identity(first_name, last_name, email_address, phone_number, rng.choice(INTRODUCERS))


def spell(rng: Random, word: str, odd_share: float) -> str:
    """`word` as some screen wrote it: mostly as it is, sometimes in another case or padded."""
    if rng.random() >= odd_share:
        return word
    return rng.choice((word.upper(), word.title(), f" {word}", f"{word} ", f" {word.capitalize()} "))

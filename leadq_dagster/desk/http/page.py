"""/desk: a page on which a person works as an agent. Its script uses the routes that every client uses."""

from html import escape
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from leadq_dagster.desk.callback_terms import CancelReason
from leadq_dagster.desk.http.service import service_of
from leadq_dagster.domain.queue_rule import QueueType
from leadq_dagster.domain.score_rules import ScoreRules

router = APIRouter(include_in_schema=False)
FOLDER = Path(__file__).with_name("desk_page")
FILES = {"desk.js": "text/javascript", "desk.css": "text/css", "icon.svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


@router.get("/desk")
async def show_page(request: Request) -> Response:
    """The page, with the outcomes of the rules in force, the queues and the reasons there are."""
    rules = service_of(request).desk.terms.rules
    text = (FOLDER / "desk.html").read_text("utf-8")
    filled = {"queues": _queues(), "outcomes": _outcomes(rules), "cancel reasons": _cancel_reasons()}
    for name, content in filled.items():
        text = text.replace(f"<!-- {name} -->", content)
    return Response(text, headers=HEADERS, media_type="text/html")


@router.get("/desk/static/{name}")
async def send_file(name: str) -> Response:
    """The page's script, style and picture."""
    if name not in FILES:
        raise HTTPException(404)
    return Response((FOLDER / name).read_bytes(), headers=HEADERS, media_type=FILES[name])


def _queues() -> str:
    return "".join(f'<option value="{queue}">{_in_words(queue)}</option>' for queue in QueueType)


def _outcomes(rules: ScoreRules) -> str:
    """A button for each outcome; those that may have an agreed time say so to the script."""
    buttons = []
    for outcome, consequence in rules.consequences.items():
        time = "must" if consequence.must_agree else "may" if consequence.may_agree else "no"
        kind = "leaves" if consequence.leaves else "talk" if consequence.is_conversation else "no-talk"
        buttons.append(
            f'<button type="button" class="outcome {kind}" data-outcome="{escape(outcome)}"'
            f' data-time="{time}">{escape(_in_words(outcome))}</button>'
        )
    return "".join(buttons)


def _cancel_reasons() -> str:
    return "".join(
        f'<button type="button" data-reason="{reason}">{_in_words(reason)}</button>'
        for reason in CancelReason
    )


def _in_words(name: str) -> str:
    return name.replace("_", " ").capitalize()

"""A person at /desk, in a browser: Chromium as Debian has it, driven by Playwright."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIResponse, BrowserContext, Page, Route, expect

from leadq_dagster.store.agents import Role
from leadq_dagster_tests.desk_http.client import Caller
from leadq_dagster_tests.desk_http.serving import Premises, Served
from leadq_dagster_tests.servers.chromium import browsing
from leadq_dagster_tests.store.waiting import wait_until

BIG = 2**53 + 1


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    with browsing(tmp_path_factory.mktemp("profile")) as context:
        yield context


@pytest.fixture
def page(browser: BrowserContext) -> Iterator[Page]:
    """A tab of its own; a script error, or anything that the page's policy forbids, fails the test."""
    page = browser.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None
    )
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    yield page
    page.close()
    assert not wrong
    assert len({url.split("/")[2] for url in asked}) == 1, "something came from elsewhere"


def sign_in(page: Page, served: Served, role: Role = Role.AGENT) -> int:
    agent_id, token = served.premises.enrol("Amira", role)
    page.goto(f"{served.address}/desk")
    page.get_by_label("Your token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Next lead")).to_be_visible()
    return agent_id


def test_a_person_works_a_lead_from_take_to_outcome(page: Page, served: Served) -> None:
    """P12: an id beyond 2^53, which JavaScript's numbers cannot hold, is shown as it is."""
    served.premises.leads(BIG, first_name="Zoë", last_name="Ünal", phone_number="+44 20 7946 0958")
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    expect(page.get_by_role("heading", name="Zoë Ünal")).to_be_focused()
    expect(page.get_by_role("link", name="+44 20 7946 0958")).to_have_attribute("href", "tel:+442079460958")
    expect(page.locator("#lead-user")).to_have_text(str(BIG))
    expect(page.locator("#countdown")).to_contain_text("4:5")
    expect(page.get_by_role("button", name="On call")).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Notes").fill("said she would look at it tonight")
    page.get_by_label("Talked for, seconds").fill("75")
    page.get_by_role("button", name="Might complete").click()
    page.get_by_role("button", name="Save without a time").click()
    expect(page.get_by_role("status")).to_contain_text("They may be called again from")
    rows = "SELECT user_id, outcome, notes FROM call_outcomes"
    assert served.premises.rows(rows) == [(BIG, "might_complete", "said she would look at it tonight")]
    assert served.premises.rows("SELECT talk_time_seconds FROM call_sessions") == [(75,)]


def test_an_agreed_time_is_told_on_the_persons_own_clock(page: Page, served: Served) -> None:
    served.premises.leads(1)
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    page.get_by_role("button", name="Call back").click()
    expect(page.get_by_role("button", name="Save without a time")).to_be_hidden()
    page.get_by_role("button", name="Save with this time").click()
    assert served.premises.rows("SELECT count(*) FROM call_outcomes") == [(0,)]
    page.get_by_role("button", name="In 3 hours").click()
    page.get_by_role("button", name="Save with this time").click()
    expect(page.get_by_role("status")).to_contain_text("They may be called again from")
    [(hours,)] = served.premises.rows(
        "SELECT extract(epoch FROM due_at - clock_timestamp()) / 3600 FROM callbacks"
    )
    assert 2.9 < hours <= 3


def test_a_lead_is_kept_longer_then_skipped_and_no_work_is_explained(page: Page, served: Served) -> None:
    """P24."""
    served.premises.leads(1)
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    page.get_by_role("button", name="Keep longer").click()
    page.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("status")).to_contain_text("Given back")
    page.get_by_role("button", name="Next lead").click()
    expect(page.get_by_role("heading", name="No lead for now")).to_be_focused()
    expect(page.locator("#no-work-reason")).to_contain_text("Nobody may be called just now")
    expect(page.locator("#standings")).to_contain_text("Cooling1")
    reasons = served.premises.rows("SELECT end_reason FROM assignments")
    assert reasons == [("released",)]


def test_a_final_outcome_is_asked_about_first(page: Page, served: Served) -> None:
    served.premises.leads(1)
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.get_by_role("button", name="Do not contact").click()
    assert served.premises.rows("SELECT count(*) FROM call_outcomes") == [(0,)]
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Do not contact").click()
    expect(page.get_by_role("status")).to_contain_text("They have left the queue")
    assert served.premises.rows("SELECT is_active FROM user_call_scores") == [(False,)]


def test_an_answer_that_got_lost_is_asked_for_again_by_the_same_request(page: Page, served: Served) -> None:
    """P20: the first two answers never reach the page; one call is recorded and the page says it is saved."""
    served.premises.leads(1)
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    sent: list[str | None] = []

    def lose(route: Route) -> None:
        sent.append(route.request.post_data)
        if len(sent) > 2:
            route.continue_()
            return
        if len(sent) == 2:
            route.fetch()
        route.abort("connectionreset")

    page.route("**/outcome", lose)
    page.get_by_role("button", name="No answer").click()
    expect(page.get_by_role("status")).to_contain_text("Saved")
    assert len(sent) == 3
    assert len(set(sent)) == 1
    assert served.premises.rows("SELECT count(*) FROM call_outcomes") == [(1,)]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"is_validated": False}, "no reason to call this person any more"),
        ({"is_validated": False, "contact": None}, "could not be asked"),
        ({}, None),
    ],
)
def test_a_lead_that_the_source_did_not_confirm_says_so(
    page: Page, served: Served, changed: dict[str, Any], words: str | None
) -> None:
    """P21."""
    served.premises.leads(1)
    sign_in(page, served)

    def change(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | changed)

    page.route("**/api/queue/next", change)
    page.get_by_role("button", name="Next lead").click()
    expect(page.locator("#lead-user")).to_have_text("1")
    warnings = page.locator("#lead .warn:visible")
    expect(warnings).to_have_count(1 if words else 0)
    if words:
        expect(warnings).to_contain_text(words)


def test_a_service_that_is_away_is_told_in_plain_words(page: Page, served: Served) -> None:
    sign_in(page, served)
    page.route("**/api/**", lambda route: route.abort("connectionrefused"))
    page.clock.install()
    page.get_by_role("button", name="Next lead").click()
    expect(page.get_by_role("status")).to_contain_text("trying again")

    def has_given_up() -> bool:
        page.clock.run_for(10_000)
        return "Nothing is lost: try again in a moment" in (page.locator("#message").text_content() or "")

    wait_until(has_given_up)
    expect(page.get_by_role("button", name="Next lead")).to_be_enabled()


def test_a_lead_in_hand_is_there_again_after_a_reload_and_in_no_other_tab(
    page: Page, browser: BrowserContext, served: Served
) -> None:
    """The token lives in the tab: no cookie, nothing left in another tab."""
    served.premises.leads(7)
    sign_in(page, served)
    page.get_by_role("button", name="Next lead").click()
    expect(page.locator("#lead-user")).to_have_text("7")
    page.reload()
    expect(page.locator("#lead-user")).to_have_text("7")
    assert served.premises.rows("SELECT count(*) FROM assignments") == [(1,)]
    assert browser.cookies() == []
    other = browser.new_page()
    other.goto(f"{served.address}/desk")
    expect(other.get_by_label("Your token")).to_be_visible()
    other.close()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Your token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


def promise(served: Served, user_id: int, minutes: int, agent_id: int) -> int:
    """The id of a call by this agent that a supervisor promises the user for so many minutes from now."""
    due_at = datetime.now(UTC) + timedelta(minutes=minutes)
    made = supervisor(served).post(
        "/api/callbacks", user_id=user_id, due_at=due_at.isoformat(), preferred_agent_id=agent_id
    )
    return int(made.json["callback_id"])


def supervisor(served: Served) -> Caller:
    return served.caller(served.premises.enrol("Boss", Role.SUPERVISOR)[1])


def accepted(page: Page, served: Served, *minutes: int) -> list[int]:
    """Calls promised for so many minutes from now, all accepted by the agent of this page."""
    agent_id = sign_in(page, served)
    made = [promise(served, user_id, later, agent_id) for user_id, later in enumerate(minutes, 1)]
    agent = served.caller(page.evaluate("sessionStorage.getItem('leadq.token')"))
    for callback_id in made:
        assert agent.post("/api/callbacks/accept", callback_id=callback_id).status == 200
    page.get_by_role("button", name="Available").click()
    page.reload()
    expect(page.locator("#callback-list li")).to_have_count(len(minutes))
    return made


def status_of(served: Served, callback_id: int) -> tuple[str, str | None]:
    [found] = served.premises.rows("SELECT status, closed_reason FROM callbacks WHERE id = %s", callback_id)
    return found[0], found[1]


def test_a_promised_call_that_is_snoozed_in_hand_leaves_the_hand(page: Page, served: Served) -> None:
    """P27: it comes again later, and the list tells both times."""
    served.premises.leads(1)
    [callback_id] = accepted(page, served, 4)
    page.get_by_role("button", name="Next lead").click()
    expect(page.locator("#promise")).to_be_visible()
    expect(page.locator("#callback-list")).to_contain_text("in your hands")
    page.get_by_role("button", name="Snooze the call").click()
    expect(page.get_by_role("status")).to_contain_text("Snoozed: it comes again at")
    expect(page.locator("#lead")).to_be_hidden()
    expect(page.get_by_role("button", name="Next lead")).to_be_enabled()
    assert status_of(served, callback_id) == ("pending", None)


def test_a_promised_call_is_cancelled_in_hand_with_its_reason(page: Page, served: Served) -> None:
    """P26: a call that is not made says why."""
    served.premises.leads(1)
    [callback_id] = accepted(page, served, 4)
    page.get_by_role("button", name="Next lead").click()
    page.get_by_role("button", name="Cancel the call").click()
    page.get_by_role("button", name="Back: keep the call").click()
    assert status_of(served, callback_id)[0] == "accepted"
    page.get_by_role("button", name="Cancel the call").click()
    page.get_by_role("button", name="Spoken to already").click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled: this call is not made")
    expect(page.locator("#lead")).to_be_hidden()
    expect(page.locator("#callback-list li")).to_have_count(0)
    assert status_of(served, callback_id) == ("cancelled", "cancelled by an agent: spoken_to_already")


def test_promised_calls_are_listed_by_when_to_call_and_refusals_in_the_desks_words(
    page: Page, served: Served
) -> None:
    """P27: a snoozed call is listed by its new time, with the promised one."""
    served.premises.leads(1, 2)
    first, second = accepted(page, served, 2, 6)
    users = page.locator("#callback-list li p")
    expect(users).to_have_text(["User 1, accepted", "User 2, accepted"])
    served.premises.rows(
        "UPDATE callbacks SET call_after = call_after + interval '7 minutes' WHERE id = %s RETURNING id",
        first,
    )
    page.reload()
    expect(users).to_have_text(["User 2, accepted", "User 1, accepted"])
    expect(page.locator("#callback-list strong").last).to_contain_text("(promised ")
    expect(page.locator("#callback-list strong").first).not_to_contain_text("(promised ")
    cancelled = supervisor(served).post(f"/api/callbacks/{second}/cancel", reason="not_wanted")
    assert cancelled.status == 200
    page.get_by_role("button", name="Snooze the call").first.click()
    expect(page.get_by_role("status")).to_have_text("the callback is cancelled already")


def test_a_token_that_is_not_known_is_told_so(page: Page, served: Served) -> None:
    page.goto(f"{served.address}/desk")
    page.get_by_label("Your token").fill("nobodys")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("status")).to_have_text("This token is not known.")


def test_statuses_are_set_by_their_buttons(page: Page, served: Served) -> None:
    agent_id = sign_in(page, served, Role.SUPERVISOR)
    expect(page.locator("#who")).to_have_text("Amira, supervisor")
    page.get_by_role("button", name="Break").click()
    expect(page.get_by_role("button", name="Break")).to_have_attribute("aria-pressed", "true")
    assert served.premises.rows("SELECT status FROM agents WHERE id = %s", agent_id) == [("break",)]


def test_a_heartbeat_that_comes_late_undoes_no_status(page: Page, served: Served) -> None:
    """The answer was given before the agent said what they do, and arrives after it."""
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/heartbeat", lambda route: held.append((route, route.fetch())))
    sign_in(page, served)
    wait_until(lambda: bool(held) or page.evaluate("null"))
    page.get_by_role("button", name="Break").click()
    pressed = page.locator("#statuses button[aria-pressed=true]")
    expect(pressed).to_have_text("Break")
    with page.expect_response("**/heartbeat"):
        for route, answer in held:
            route.fulfill(response=answer)
    expect(pressed).to_have_text("Break")


def test_names_are_text_and_never_markup(page: Page, premises: Premises, tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)><b>"
    premises.leads(1, first_name=name, last_name=None)
    with premises.serving(tmp_path / "log") as served:
        sign_in(page, served)
        page.get_by_role("button", name="Next lead").click()
        expect(page.locator("#lead-name")).to_have_text(name)


def test_the_page_allows_no_inline_script_and_nothing_from_elsewhere(shared: Served) -> None:
    answer = shared.caller().get("/desk")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "onclick" not in answer.text
    assert "<style" not in answer.text
    assert shared.caller().get("/desk/static/..%2Fpage.py").status == 404
    assert shared.caller().get("/desk/static/page.py").status == 404

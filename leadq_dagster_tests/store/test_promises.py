"""The promises that the database keeps by itself: each is a statement it refuses, naming the promise."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.domain.errors import PermanentError
from leadq_dagster.store.connection import Store
from leadq_dagster.store.migrations import parse_catalog, snapshot_path

# Of the users, 1 waits (stay 11), 2 has left (stay 12) with conversion 42, 3 is held by agent 1 (stay 13) by
# assignment 61, 4 is in no queue. Transition 31 brought user 1 in; callback 21 is promised to user 1, 22 was
# kept. Assignment 62, of the stay that ended, has its outcome.
SCENE = b"""
INSERT INTO agents (id, name, token_hash) VALUES (1, 'Ada', 'one'), (2, 'Bea', 'two');
INSERT INTO agent_sessions (agent_id) VALUES (1);
INSERT INTO customers (phone_e164) VALUES ('+447700900001');
INSERT INTO user_call_scores (user_id, current_queue_type, discovered_at, next_call_after)
VALUES (1, 'unsigned_users', '2026-03-04', '2026-03-04'), (2, NULL, '2026-03-04', '2026-03-04'),
       (3, 'unsigned_users', '2026-03-04', '2026-03-04'), (4, NULL, '2026-03-04', '2026-03-04');
INSERT INTO callbacks (id, user_id, queue_type, due_at, call_after, status, closed_at, closed_reason)
OVERRIDING SYSTEM VALUE
VALUES (21, 1, 'unsigned_users', '2026-03-05 15:00Z', '2026-03-05 15:00Z', 'pending', NULL, NULL),
       (22, 2, 'unsigned_users', '2026-03-04 15:00Z', '2026-03-04 15:00Z', 'completed', '2026-03-05', 'kept');
INSERT INTO call_queue (id, user_id, queue_type, queue_reason, available_from, entered_at, status, left_at,
    left_reason, assigned_to_agent_id, assigned_at, lease_expires_at, lease_token) OVERRIDING SYSTEM VALUE
VALUES
    (11, 1, 'unsigned_users', 'no_signature', '2026-03-04', '2026-03-04', 'pending',
        NULL, NULL, NULL, NULL, NULL, 5),
    (12, 2, 'unsigned_users', 'no_signature', '2026-03-04', '2026-03-04', 'left',
        '2026-03-05', 'signed', NULL, NULL, NULL, 0),
    (13, 3, 'unsigned_users', 'no_signature', '2026-03-04', '2026-03-04', 'assigned',
        NULL, NULL, 1, '2026-03-04', '2026-03-05', 7);
INSERT INTO queue_transitions (id, user_id, to_queue_type, entered_stay_id, reason, actor, happened_at)
OVERRIDING SYSTEM VALUE VALUES (31, 1, 'unsigned_users', 11, 'no_signature', 'a_test', '2026-03-04'),
    (32, 2, 'unsigned_users', 12, 'no_signature', 'a_test', '2026-03-04'),
    (33, 3, 'unsigned_users', 13, 'no_signature', 'a_test', '2026-03-04');
INSERT INTO queue_transitions (id, user_id, from_queue_type, left_stay_id, reason, actor, happened_at)
OVERRIDING SYSTEM VALUE VALUES (34, 2, 'unsigned_users', 12, 'signed', 'a_test', '2026-03-05');
INSERT INTO conversions (id, user_id, call_queue_id, previous_queue_type, conversion_type, conversion_reason,
    source, converted_at, detected_at, final_score, total_call_attempts, signature_obtained, requirements_met)
OVERRIDING SYSTEM VALUE VALUES (42, 2, 12, 'unsigned_users', 'signature_obtained', 'signed',
    'hourly_check', '2026-03-05 10:00Z', '2026-03-05 11:00Z', 0, 0, true, false);
INSERT INTO completed_windows (asset, window_start, observed_until, completed_at)
VALUES ('new_users', '2026-03-04 10:00Z', '2026-03-04 11:00Z', '2026-03-04 11:00Z');
INSERT INTO call_sessions (id, direction, status, started_at, talk_time_seconds)
VALUES ('call-1', 'outbound', 'completed', '2026-03-04 10:00Z', 31),
       ('call-2', 'inbound', 'ringing', '2026-03-04 10:00Z', 0);
INSERT INTO assignments (id, call_queue_id, agent_id, request_id, lease_token, priority_score, assigned_at,
    lease_expires_at, ended_at, end_reason) OVERRIDING SYSTEM VALUE
VALUES (61, 13, 1, 'take-1', 7, 0, '2026-03-04', '2026-03-05', NULL, NULL),
       (62, 12, 2, 'take-2', 1, 0, '2026-03-04', '2026-03-05', '2026-03-04', 'outcome');
INSERT INTO call_outcomes (user_id, outcome, assignment_id, call_session_id, request_id, recorded_at)
VALUES (2, 'no_answer', 62, 'call-1', 'ask-1', '2026-03-04');
INSERT INTO callback_notifications (callback_id, agent_id, decision, notified_at)
VALUES (21, 1, 'reserved_for_preferred', '2026-03-05');
INSERT INTO desk_answers (agent_id, request_id, request, answer, answered_at)
VALUES (1, 'ask-1', 'take', '{}', '2026-03-04');
INSERT INTO score_events (call_queue_id, kind, outcome, attempt, outcome_change, rules_version, happened_at)
VALUES (12, 'outcome', 'no_answer', 1, 1, 1, '2026-03-04');
INSERT INTO score_events (call_queue_id, kind, aged_to, age_change, rules_version, happened_at)
VALUES (11, 'age', '2026-03-11', 5, 1, '2026-03-11');
INSERT INTO conversations (id, call_session_id, channel, started_at) OVERRIDING SYSTEM VALUE
VALUES (51, 'call-1', 'voice', '2026-03-04 10:00Z'), (52, NULL, 'sms', '2026-03-04 10:00Z');
INSERT INTO messages (conversation_id, position, sender, content, sent_at)
VALUES (51, 1, 'agent', 'Good morning', '2026-03-04 10:00Z');
INSERT INTO voice_call_details (conversation_id, call_session_id) VALUES (51, 'call-1');
"""

STAY = """INSERT INTO call_queue (user_id, queue_type, queue_reason, available_from, entered_at)
          VALUES ({user}, '{queue}', 'a reason', '2026-03-04', '2026-03-04')"""
QUEUE = "UPDATE user_call_scores SET current_queue_type = {queue} WHERE user_id = {user}"
LEAVE = "UPDATE call_queue SET status = 'left', left_at = now(), left_reason = 'signed' WHERE id = {stay}"
CALLBACK = """INSERT INTO callbacks (user_id, queue_type, due_at, call_after)
              VALUES (1, 'unsigned_users', '{due}', '{due}')"""
TRANSITION = """INSERT INTO queue_transitions (user_id, from_queue_type, to_queue_type, left_stay_id,
                    entered_stay_id, reason, actor, happened_at)
                VALUES ({user}, {origin}, {target}, {left}, {entered}, 'a reason', 'a_test', '2026-03-05')"""
CONVERSION = """INSERT INTO conversions (user_id, call_queue_id, previous_queue_type, conversion_type,
                    conversion_reason, source, converted_at, detected_at, final_score, total_call_attempts,
                    signature_obtained, requirements_met)
                VALUES (2, {stay}, '{queue}', '{kind}', 'a reason', 'recovery', '{converted}',
                    '2026-03-05 11:00Z', 0, 0, true, true)"""
ASSIGN = """UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = {agent},
                assigned_at = '2026-03-05', lease_expires_at = {lease}, lease_token = {token}
            WHERE id = {stay}"""
GRANT = """INSERT INTO assignments (call_queue_id, agent_id, request_id, lease_token, priority_score,
               assigned_at, lease_expires_at)
           VALUES ({stay}, 2, 'take-3', {token}, 0, now(), now() + interval '5 min')"""
EVENT = """INSERT INTO score_events (call_queue_id, kind, outcome, attempt, aged_to, rules_version,
               happened_at)
           VALUES ({stay}, '{kind}', {outcome}, {attempt}, {aged_to}, 1, now())"""


def stay(user: int, queue: str = "unsigned_users") -> str:
    return STAY.format(user=user, queue=queue)


def transition(
    origin: str = "NULL",
    target: str = "'outstanding_requests'",
    left: str = "NULL",
    entered: str = "11",
    user: int = 1,
) -> str:
    return TRANSITION.format(origin=origin, target=target, left=left, entered=entered, user=user)


def queue(user: int, queue: str | None = "unsigned_users") -> str:
    return QUEUE.format(user=user, queue=f"'{queue}'" if queue else "NULL")


def enter(user: int, into: str = "unsigned_users") -> str:
    """All that the door writes when a user enters."""
    entered = "currval(pg_get_serial_sequence('call_queue', 'id'))"
    line = transition(target=f"'{into}'", entered=entered, user=user)
    return f"{stay(user, into)}; {queue(user, into)}; {line}"


def conversion(
    kind: str, queue: str = "unsigned_users", stay: int = 12, converted: str = "2026-03-05 10:30Z"
) -> str:
    return CONVERSION.format(kind=kind, queue=queue, stay=stay, converted=converted)


def assign(stay: int, agent: str = "2", lease: str = "'2026-03-06'", token: int = 8) -> str:
    return ASSIGN.format(stay=stay, agent=agent, lease=lease, token=token)


def event(
    kind: str, outcome: str = "NULL", attempt: str = "NULL", aged_to: str = "NULL", stay: int = 12
) -> str:
    return EVENT.format(stay=stay, kind=kind, outcome=outcome, attempt=attempt, aged_to=aged_to)


REFUSED = [
    # Stays
    ("one_live_stay_per_user", stay(1)),
    ("one_live_stay_per_user", stay(1, "outstanding_requests")),
    ("one_live_stay_per_user", stay(3)),
    ("one_current_assignment_per_agent", assign(11, agent="1")),
    ("an_assigned_stay_has_an_agent_and_a_lease_or_a_callback", assign(11, agent="NULL")),
    ("an_assigned_stay_has_an_agent_and_a_lease_or_a_callback", assign(11, lease="NULL")),
    ("an_assigned_stay_has_an_agent_and_a_lease_or_a_callback", "UPDATE call_queue SET status = 'assigned'"
     ", lease_token = 9 WHERE id = 11"),
    ("a_lease_token_only_grows", "UPDATE call_queue SET lease_token = 4 WHERE id = 11"),
    ("each_assignment_has_a_greater_lease_token", assign(11, token=5)),
    ("each_assignment_has_a_greater_lease_token", assign(13, token=7)),
    ("a_stay_is_never_deleted", "DELETE FROM call_queue WHERE id = 12"),
    ("a_stay_is_never_deleted", "TRUNCATE call_queue CASCADE"),
    ("a_stay_is_never_deleted", "TRUNCATE user_call_scores CASCADE"),
    ("a_closed_stay_stays_closed", "UPDATE call_queue SET status = 'pending', left_at = NULL, "
     "left_reason = NULL WHERE id = 12"),
    ("a_left_stay_says_when_and_why", "UPDATE call_queue SET status = 'left' WHERE id = 11"),
    ("a_left_stay_says_when_and_why", "UPDATE call_queue SET status = 'left', left_at = now() WHERE id = 11"),
    ("a_left_stay_says_when_and_why",
     "UPDATE call_queue SET left_at = now(), left_reason = 'signed' WHERE id = 11"),
    ("a_stays_status_is_from_its_list", "UPDATE call_queue SET status = 'waiting' WHERE id = 11"),
    ("a_queue_type_is_from_its_list", stay(4, "vip_users")),
    ("a_queue_type_is_from_its_list", "UPDATE agents SET allowed_queues = '{unsigned_users,vip_users}'"),
    ("a_queue_type_is_from_its_list",
     "UPDATE user_call_scores SET current_queue_type = 'Unsigned_Users' WHERE user_id = 4"),
    ("a_stay_is_of_a_known_user", stay(99)),
    ("a_stay_is_of_a_known_user", "DELETE FROM user_call_scores WHERE user_id = 3"),
    # Transitions
    ("a_transition_is_never_changed", "UPDATE queue_transitions SET reason = 'another' WHERE id = 31"),
    ("a_transition_is_never_changed", "DELETE FROM queue_transitions WHERE id = 31"),
    ("a_transition_is_never_changed", "TRUNCATE queue_transitions"),
    ("a_transition_moves_the_user", transition(target="NULL", entered="NULL")),
    ("a_transition_moves_the_user",
     transition("'outstanding_requests'", "'outstanding_requests'", left="11", entered="11")),
    ("a_transition_names_the_stays_it_left_and_entered", transition(entered="NULL")),
    ("a_transition_names_the_stays_it_left_and_entered", transition(left="12")),
    ("a_transition_names_the_stays_it_left_and_entered", transition("'unsigned_users'")),
    ("one_transition_enters_a_stay", transition()),
    ("one_transition_leaves_a_stay",
     transition("'unsigned_users'", "NULL", left="12", entered="NULL", user=2)),
    # Past the door
    ("a_stay_opens_with_its_transition", f"{stay(4)}; {queue(4)}"),
    ("a_stay_closes_with_its_transition", f"{LEAVE.format(stay=11)}; {queue(1, None)}"),
    ("a_stay_closes_with_its_transition", f"{LEAVE.format(stay=11)}; {enter(1, 'outstanding_requests')}"),
    ("a_live_stay_is_in_the_users_current_queue", stay(4)),
    ("a_closed_stay_is_not_the_users_current_queue", LEAVE.format(stay=11)),
    ("a_closed_stay_is_not_the_users_current_queue", LEAVE.format(stay=13)),
    ("a_closed_stay_is_not_the_users_current_queue", f"{assign(11)}; {LEAVE.format(stay=11)}"),
    ("a_stay_keeps_its_user_and_queue",
     "UPDATE call_queue SET queue_type = 'outstanding_requests' WHERE id = 11"),
    ("a_stay_keeps_its_user_and_queue", "UPDATE call_queue SET user_id = 4 WHERE id = 11"),
    ("the_current_queue_is_that_of_the_live_stay", f"{assign(11)}; {queue(1, None)}"),
    ("the_current_queue_is_that_of_the_live_stay", queue(4)),
    ("the_current_queue_is_that_of_the_live_stay", queue(1, "outstanding_requests")),
    ("the_current_queue_is_that_of_the_live_stay", queue(1, None)),
    ("a_known_user_begins_in_the_queue_of_the_live_stay", "INSERT INTO user_call_scores (user_id, "
     "current_queue_type, discovered_at, next_call_after) VALUES (5, 'unsigned_users', now(), now())"),
    # Conversions
    ("one_conversion_per_stay_and_type", conversion("signature_obtained")),
    ("a_conversion_type_fits_its_queue", conversion("requirements_completed")),
    ("a_conversion_type_fits_its_queue", conversion("signature_obtained", "outstanding_requests")),
    ("a_conversion_type_fits_its_queue", conversion("agent_says_so")),
    ("a_conversion_happened_before_it_was_detected",
     conversion("signature_obtained", stay=11, converted="2026-03-05 11:00:01Z")),
    ("a_queue_type_is_from_its_list", conversion("signature_obtained", "vip_users")),
    # Scores
    ("a_score_is_not_negative", "UPDATE user_call_scores SET base_score = -1 WHERE user_id = 1"),
    ("successful_calls_are_attempts", "UPDATE user_call_scores SET successful_calls = 1 WHERE user_id = 1"),
    ("an_inactive_user_has_a_reason", "UPDATE user_call_scores SET is_active = false WHERE user_id = 4"),
    ("an_inactive_user_has_a_reason",
     "UPDATE user_call_scores SET suppressed_reason = 'do_not_contact' WHERE user_id = 4"),
    ("an_inactive_user_is_in_no_queue", "UPDATE user_call_scores SET is_active = false, "
     "suppressed_reason = 'do_not_contact' WHERE user_id = 1"),
    ("an_outcome_is_from_its_list", "UPDATE user_call_scores SET last_outcome = 'maybe' WHERE user_id = 1"),
    # Callbacks
    ("one_open_callback_per_user_and_time", CALLBACK.format(due="2026-03-05 15:00Z")),
    ("one_open_callback_per_user_and_time", CALLBACK.format(due="2026-03-05 16:00+01:00")),
    ("a_callbacks_status_is_from_its_list", "UPDATE callbacks SET status = 'snoozed'"),
    ("an_accepted_callback_has_its_agent", "UPDATE callbacks SET status = 'accepted' WHERE id = 21"),
    ("a_closed_callback_says_when_and_why", "UPDATE callbacks SET status = 'completed' WHERE id = 21"),
    ("a_closed_callback_says_when_and_why",
     "UPDATE callbacks SET closed_at = now(), closed_reason = 'kept' WHERE id = 21"),
    ("a_promised_time_never_changes",
     "UPDATE callbacks SET due_at = due_at + interval '1 min' WHERE id = 21"),
    ("a_promised_time_never_changes", "UPDATE callbacks SET user_id = 3 WHERE id = 21"),
    ("a_closed_callback_stays_closed", "UPDATE callbacks SET status = 'pending', closed_at = NULL, "
     "closed_reason = NULL WHERE id = 22"),
    ("a_closed_callback_stays_closed", "UPDATE callbacks SET status = 'cancelled' WHERE id = 22"),
    ("one_live_stay_per_callback", "UPDATE call_queue SET callback_id = 21 WHERE id IN (11, 13)"),
    ("only_a_raised_stay_is_reserved", "UPDATE call_queue SET reserved_for_agent_id = 1 WHERE id = 11"),
    ("a_decision_is_from_its_list", "UPDATE callback_notifications SET decision = 'forgotten'"),
    ("a_reservation_names_its_agent", "UPDATE callback_notifications SET agent_id = NULL"),
    ("a_reservation_names_its_agent", "UPDATE callback_notifications SET decision = 'left_unassigned'"),
    # Assignments and answers
    ("one_assignment_per_stay_and_lease_token", GRANT.format(stay=13, token=7)),
    ("an_assignment_ends_for_a_reason", "UPDATE assignments SET ended_at = now() WHERE id = 61"),
    ("an_assignment_ends_for_a_reason", "UPDATE assignments SET end_reason = 'released' WHERE id = 61"),
    ("an_assignments_end_is_from_its_list",
     "UPDATE assignments SET ended_at = now(), end_reason = 'forgotten' WHERE id = 61"),
    ("an_assignment_ends_once",
     "UPDATE assignments SET ended_at = now(), end_reason = 'expired' WHERE id = 62"),
    ("an_assignment_ends_once", "UPDATE assignments SET ended_at = NULL, end_reason = NULL WHERE id = 62"),
    ("what_was_granted_is_never_changed", "UPDATE assignments SET agent_id = 2 WHERE id = 61"),
    ("what_was_granted_is_never_changed", "UPDATE assignments SET lease_expires_at = now() WHERE id = 61"),
    ("an_assignment_is_never_deleted", "DELETE FROM assignments WHERE id = 61"),
    ("one_answer_per_agent_and_request", "INSERT INTO desk_answers (agent_id, request_id, request, answer, "
     "answered_at) VALUES (1, 'ask-1', 'release', '{}', now())"),
    # Score events
    ("a_score_events_kind_is_from_its_list", event("mood")),
    ("a_score_event_says_what_happened", event("outcome", outcome="'no_answer'")),
    ("a_score_event_says_what_happened", event("outcome", attempt="2")),
    ("a_score_event_says_what_happened", event("age")),
    ("a_score_event_says_what_happened", event("age", outcome="'hung_up'", attempt="2", aged_to="now()")),
    ("an_outcome_is_from_its_list", event("outcome", outcome="'maybe'", attempt="2")),
    ("one_score_event_per_stay_and_attempt", event("outcome", outcome="'hung_up'", attempt="1")),
    ("a_score_event_is_never_changed", "UPDATE score_events SET outcome_change = 0"),
    ("a_score_event_is_never_changed", "DELETE FROM score_events"),
    ("a_score_event_is_never_changed", "TRUNCATE score_events"),
    # Agents
    ("an_agents_role_is_from_its_list", "UPDATE agents SET role = 'owner' WHERE id = 1"),
    ("an_agents_status_is_from_its_list", "UPDATE agents SET status = 'lunch' WHERE id = 1"),
    ("one_agent_per_token", "UPDATE agents SET token_hash = 'one' WHERE id = 2"),
    ("one_open_session_per_agent", "INSERT INTO agent_sessions (agent_id) VALUES (1)"),
    ("a_session_ends_after_it_started", "UPDATE agent_sessions SET ended_at = started_at - interval '1 s'"),
    # Windows
    ("one_completion_per_asset_and_window", "INSERT INTO completed_windows (asset, window_start, "
     "observed_until, completed_at) SELECT asset, window_start, observed_until, now() "
     "FROM completed_windows"),
    ("a_window_is_complete_once_observed",
     "UPDATE completed_windows SET observed_until = window_start + interval '59 min'"),
    # Calls and communications
    ("a_calls_direction_is_from_its_list", "UPDATE call_sessions SET direction = 'sideways'"),
    ("a_calls_status_is_from_its_list", "UPDATE call_sessions SET status = 'done'"),
    ("talk_time_is_not_negative", "UPDATE call_sessions SET talk_time_seconds = -1"),
    ("a_call_ends_after_it_started", "UPDATE call_sessions SET ended_at = started_at - interval '1 s'"),
    ("an_outcome_is_from_its_list", "UPDATE call_outcomes SET outcome = 'No_Answer'"),
    ("one_outcome_per_assignment", "INSERT INTO call_outcomes (user_id, outcome, assignment_id, "
     "call_session_id, recorded_at) VALUES (2, 'hung_up', 62, 'call-2', now())"),
    ("an_outcome_of_an_assignment_has_its_call", "INSERT INTO call_outcomes (user_id, outcome, "
     "assignment_id, recorded_at) VALUES (3, 'hung_up', 61, now())"),
    ("one_customer_per_phone_number", "INSERT INTO customers (phone_e164) VALUES ('+447700900001')"),
    ("a_phone_number_is_in_e164", "INSERT INTO customers (phone_e164) VALUES ('07700 900001')"),
    ("a_channel_is_from_its_list", "UPDATE conversations SET channel = 'pigeon'"),
    ("a_conversation_ends_after_it_started",
     "UPDATE conversations SET ended_at = started_at - interval '1 s'"),
    ("a_duration_is_not_negative", "UPDATE conversations SET duration_seconds = -1"),
    ("one_conversation_per_call", "UPDATE conversations SET call_session_id = 'call-1'"),
    ("a_sender_is_from_its_list", "UPDATE messages SET sender = 'robot'"),
    ("one_message_per_conversation_and_position", "INSERT INTO messages (conversation_id, position, sender, "
     "content, sent_at) SELECT conversation_id, position, sender, content, sent_at FROM messages"),
    ("a_voice_calls_talk_time_is_not_negative", "UPDATE voice_call_details SET talk_time_seconds = -1"),
    ("one_voice_call_per_call_session",
     "INSERT INTO voice_call_details (conversation_id, call_session_id) VALUES (52, 'call-1')"),
]  # fmt: skip

ALLOWED = [
    ("a user returns after having left", enter(2)),
    ("a user enters a first time", enter(4, "outstanding_requests")),
    ("an agent takes a waiting lead", assign(11)),
    ("an agent holds a lead by a callback and no lease",
     "UPDATE call_queue SET status = 'assigned', assigned_to_agent_id = 2, assigned_at = now(), "
     "callback_id = 21, lease_token = 6 WHERE id = 11"),
    ("a lease is extended under its token", "UPDATE call_queue SET lease_expires_at = now() WHERE id = 13"),
    ("a held lead passes to another agent", assign(13, token=8)),
    ("a held lead is released", "UPDATE call_queue SET status = 'pending', assigned_to_agent_id = NULL, "
     "assigned_at = NULL, lease_expires_at = NULL WHERE id = 13"),
    ("a held lead leaves", f"{LEAVE.format(stay=13)}; {queue(3, None)};"
     + transition("'unsigned_users'", "NULL", left="13", entered="NULL", user=3)),
    ("a second stay converts too", conversion("signature_obtained", stay=11)),
    ("a conversion is credited later", "UPDATE conversions SET primary_agent_id = 2"),
    ("a conversion is detected at once",
     conversion("signature_obtained", stay=11, converted="2026-03-05 11:00Z")),
    ("a callback at another time", CALLBACK.format(due="2026-03-05 15:01Z")),
    ("a kept callback is promised again", "UPDATE callbacks SET status = 'completed', closed_at = now(), "
     "closed_reason = 'kept' WHERE id = 21;" + CALLBACK.format(due="2026-03-05 15:00Z")),
    ("a callback is snoozed",
     "UPDATE callbacks SET call_after = call_after + interval '5 min' WHERE id = 21"),
    ("a callback is accepted and given back", "UPDATE callbacks SET status = 'accepted', "
     "accepted_by_agent_id = 1, accepted_at = now() WHERE id = 21; UPDATE callbacks SET status = 'pending', "
     "accepted_by_agent_id = NULL, accepted_at = NULL WHERE id = 21"),
    ("a closed callback is touched", "UPDATE callbacks SET updated_at = now() WHERE id = 22"),
    ("a callback raises a stay and it is reserved",
     "UPDATE call_queue SET callback_id = 21, priority_score = -1000, reserved_for_agent_id = 2 "
     "WHERE id = 11"),
    ("a callback is left to whoever asks first",
     "UPDATE callback_notifications SET decision = 'left_unassigned', agent_id = NULL"),
    ("a callback raises a later stay again", "UPDATE call_queue SET callback_id = 21 WHERE id = 12; "
     "UPDATE call_queue SET callback_id = 21 WHERE id = 11"),
    ("a stay that was there for a promise becomes a lead's",
     "UPDATE call_queue SET queue_reason = 'pending_requirements' WHERE id = 11"),
    ("a stay is assigned again by the next token", f"{assign(13)}; {GRANT.format(stay=13, token=8)}"),
    ("an assignment ends", "UPDATE assignments SET ended_at = now(), end_reason = 'snoozed' WHERE id = 61"),
    ("an assignment that ended is marked unvalidated",
     "UPDATE assignments SET unvalidated_reason = 'no answer' WHERE id = 62"),
    ("another agent chooses the same request id", "INSERT INTO desk_answers (agent_id, request_id, request, "
     "answer, answered_at) VALUES (2, 'ask-1', 'take', '{}', now())"),
    ("old answers are forgotten", "DELETE FROM desk_answers"),
    ("a next attempt", event("outcome", outcome="'hung_up'", attempt="2")),
    ("a stay ages twice", event("age", aged_to="now()", stay=11)),
    ("an outcome without an assignment, twice", "INSERT INTO call_outcomes (user_id, outcome, request_id, "
     "recorded_at) VALUES (2, 'hung_up', 'ask-1', now()), (2, 'hung_up', 'ask-1', now())"),
    ("a supervisor", "UPDATE agents SET role = 'supervisor' WHERE id = 2"),
    ("anonymous customers", "INSERT INTO customers (phone_e164) VALUES (NULL), (NULL)"),
]  # fmt: skip


@pytest.fixture
def scene(plain: Connection[TupleRow]) -> Connection[TupleRow]:
    plain.execute(SCENE)
    return plain


def test_every_statement_against_a_promise_is_refused_in_its_name(scene: Connection[TupleRow]) -> None:
    """P1, P3, P15, P19, P25, P26, P39: each promise of the schema, by a statement that would break it."""
    for promise, statement in REFUSED:
        with pytest.raises(psycopg.errors.IntegrityError) as refusal, scene.transaction():
            scene.execute(statement.encode())
        assert refusal.value.diag.constraint_name == promise, statement


def test_what_the_work_needs_is_not_refused(scene: Connection[TupleRow]) -> None:
    """P1, P15, P26: a promise that refused too much would stop the work."""
    for purpose, statement in ALLOWED:
        try:
            with scene.transaction(force_rollback=True):
                scene.execute(statement.encode())
                scene.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as error:
            pytest.fail(f"{purpose}: {error}")


def test_every_named_promise_of_the_schema_has_a_statement_against_it() -> None:
    """P39: a promise added by a later migration is tested like the others."""
    catalog = parse_catalog(snapshot_path().read_text("utf-8"))
    named = {
        name.split(".")[-1]
        for (kind, name), text in catalog.items()
        if kind in ("constraint", "trigger") and not text.startswith(("PRIMARY KEY", "FOREIGN KEY"))
    }
    unique = {name for (kind, name), text in catalog.items() if kind == "index" and "UNIQUE" in text}
    sentences = {name for name in named | unique if not name.endswith("_pkey")}
    assert sentences | {"a_stay_is_of_a_known_user"} == {promise for promise, _ in REFUSED}


def test_the_error_that_reaches_people_says_the_promise_in_words(store: Store) -> None:
    """P40: with the table, and without the row."""
    with store.transaction() as cursor:
        cursor.execute(SCENE)
    with pytest.raises(PermanentError) as refusal, store.transaction() as cursor:
        cursor.execute(stay(1).encode())
    assert str(refusal.value) == "store: refused, because one live stay per user (call_queue)"

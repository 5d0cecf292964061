"""The views that questions may rely on, whatever becomes of the tables.

In the SQL that both kinds of database know. Names are plural, so that none hides a table.
Source: docs/ledger.md, "Asking in SQL".
"""

from typing import Final

VIEWS: Final = {
    "runs": """
SELECT id, policy, operation, state, queued_at, started_at, ended_at, host, result, failure,
  begun_event, event FROM run""",
    "recovery_points": """
SELECT id, policy, repository, lineage, commit_number, consistent_at, finished_at, plain_bytes,
  stored_bytes, new_bytes, files, entries, unreadable, changed, complete, consistency, proof, run,
  event, proven_event FROM recovery_point""",
    "drills": """
SELECT id, policy, kind, choice, instant, parent, run, planned_at, declared_at, ended_at, verdict,
  reason, scratch, repository, commit_number, consistent_at, recoverable_through, plain_bytes,
  read_bytes, files, promised_rpo_us / 1000000.0 AS promised_rpo_s,
  promised_rto_us / 1000000.0 AS promised_rto_s, achieved_rpo_us / 1000000.0 AS achieved_rpo_s,
  achieved_rto_us / 1000000.0 AS achieved_rto_s,
  predicted_low_us / 1000000.0 AS predicted_low_s, predicted_rto_us / 1000000.0 AS predicted_rto_s,
  predicted_high_us / 1000000.0 AS predicted_high_s, checkpoint_size, checkpoint_root, event
  FROM drill""",
    "phases": """
SELECT p.drill, d.policy, p.position, p.phase, p.reached_at, p.elapsed_us / 1000000.0 AS elapsed_s,
  p.took_us / 1000000.0 AS took_s, p.event FROM phase p JOIN drill d ON d.id = p.drill""",
    "probes": """
SELECT p.drill, d.policy, p.position, p.name, p.kind, p.control, p.outcome, p.expected, p.found,
  p.caught_by, p.took_us / 1000000.0 AS took_s, p.event FROM probe p JOIN drill d ON d.id = p.drill""",
    "proven": """
SELECT policy, max(coalesce(recoverable_through, consistent_at)) AS proven_through,
  max(ended_at) AS last_proven_at FROM drill
  WHERE policy IS NOT NULL AND consistent_at IS NOT NULL AND verdict IN ('proven', 'too-old', 'too-slow')
  GROUP BY policy""",
    "incidents": """
SELECT id, kind, policy, began_at, ended_at, worst_us / 1000000.0 AS worst_s, cause, alarm, drill,
  event FROM incident""",
    "actions": """
SELECT id, title, owner, policy, drill, incident, opened_at, due_at, closed_at, outcome, event
  FROM corrective_action""",
    "key_drills": """
SELECT event, drill, repository, recipient, role, session, opened, checked_at, detail,
  took_us / 1000000.0 AS took_s FROM key_drill""",
    "verifications": """
SELECT event, run, policy, repository, kind, passed, checked_at, objects, read_bytes, findings, detail
  FROM verification""",
    "alarms": """
SELECT id, kind, subject_kind, subject_name, message, since, raised_at, cleared_at, event
  FROM alarm""",
    "notifications": """
SELECT event, channel, alarm, what, delivered, detail, sent_at FROM notification""",
}
"""Name and query of each."""

"""What standards ask for, which sections answer, and what is not claimed.

What a standard asks is said in our words and short; its own text binds. Nothing here says that an
organisation complies: a report is evidence for some of what is asked.

Source:
    NIST SP 800-53 Rev. 5; ISO 22301:2019; ISO/IEC 27001:2022 Annex A; AICPA Trust Services Criteria
    2017 (points of focus 2022); 45 CFR 164.308; Regulation (EU) 2022/2554. docs/evidence.md.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Control(NamedTuple):
    """One control.

    Attributes:
        standard: Whose.
        control: Its number and name.
        asks: What for, in our words.
        needs: Kinds of evidence that answer, all of which must be there.
        sections: Where they are.
        claims: What the report shows, when they are there.
        not_claimed: What it does not show.
    """

    standard: str
    control: str
    asks: str
    needs: tuple[str, ...]
    sections: tuple[str, ...]
    claims: str
    not_claimed: str


CONTROLS: Final = (
    Control(
        "NIST SP 800-53 Rev. 5",
        "CP-4 Contingency Plan Testing",
        "test the plan at a set frequency, review the results, start corrective actions",
        ("drills",),
        ("sampling", "rto", "results", "issues"),
        "technical recovery was tested, with results and actions as recorded",
        "the plan itself, people, alternate sites; the frequency is the organisation's to set",
    ),
    Control(
        "NIST SP 800-53 Rev. 5",
        "CP-9 System Backup",
        "back up at a frequency that fits RTO and RPO; protect the backups",
        ("points",),
        ("rpo", "results", "security"),
        "when backups were taken and how old the newest one became",
        "system documentation; whether the objectives fit the business",
    ),
    Control(
        "NIST SP 800-53 Rev. 5",
        "CP-9(1) Testing for Reliability and Integrity",
        "test backups for reliability and integrity",
        ("drills", "checks"),
        ("integrity", "controls", "results"),
        "stored data was checked and restored data was probed",
        "recovery points that are listed as not restored",
    ),
    Control(
        "NIST SP 800-53 Rev. 5",
        "CP-9(2) Test Restoration Using Sampling",
        "restore a sample of backups as part of testing the plan",
        ("drills",),
        ("sampling", "results"),
        "which recovery points were restored, and by what rule they were chosen",
        "that the sample is large enough: no size is asked for",
    ),
    Control(
        "NIST SP 800-53 Rev. 5",
        "CP-10 System Recovery and Reconstitution",
        "recover to a known state within a time that fits RTO and RPO",
        ("drills",),
        ("rto", "rpo"),
        "time to a proven restore in a scratch environment",
        "reconstitution of a whole system; networks, names and users",
    ),
    Control(
        "ISO 22301:2019",
        "8.5 Exercise programme",
        "exercise and test at planned intervals, report outcomes, act on them",
        ("drills",),
        ("scope", "timeline", "results", "issues"),
        "exercises of technical recovery, with outcomes and actions",
        "exercises of people, decisions and communication",
    ),
    Control(
        "ISO/IEC 27001:2022",
        "A.8.13 Information backup",
        "keep backups by an agreed policy and test them regularly",
        ("points", "drills"),
        ("scope", "rpo", "results"),
        "what is kept, how old it became, and that it was restored",
        "that the policy is the right one; no RPO and no interval is asked for",
    ),
    Control(
        "SOC 2 (TSC 2017)",
        "A1.2 Recovery infrastructure and backup",
        "run backup processes and recovery infrastructure that meet the objectives",
        ("points",),
        ("scope", "rpo", "security"),
        "backup processes and their outcomes",
        "environmental protection, the recovery site, capacity",
    ),
    Control(
        "SOC 2 (TSC 2017)",
        "A1.3 Testing of recovery plan procedures",
        "test procedures that support system recovery; test that backups are whole",
        ("drills",),
        ("sampling", "rto", "controls", "results"),
        "restores that were tested, with negative controls",
        "procedures that drkeeper does not run",
    ),
    Control(
        "HIPAA Security Rule",
        "45 CFR 164.308(a)(7)(ii)(A) Data backup plan",
        "create and keep retrievable exact copies",
        ("points", "drills"),
        ("rpo", "integrity", "results"),
        "copies were made, and those drilled were retrieved and compared",
        "which data is protected health information; no RPO is asked for",
    ),
    Control(
        "HIPAA Security Rule",
        "45 CFR 164.308(a)(7)(ii)(B) Disaster recovery plan",
        "have procedures to restore any loss of data",
        ("drills",),
        ("rto", "results"),
        "the procedures of drkeeper were carried out in drills",
        "the written plan; no RTO is asked for",
    ),
    Control(
        "HIPAA Security Rule",
        "45 CFR 164.308(a)(7)(ii)(D) Testing and revision (addressable)",
        "test and revise contingency plans periodically",
        ("drills",),
        ("timeline", "results", "issues"),
        "tests in the quarter and the actions that followed",
        "revision of the plan; no interval is asked for",
    ),
    Control(
        "DORA (EU) 2022/2554",
        "Article 12(1), (2) Backup policies and testing",
        "have policies and procedures for backup and recovery, and test them periodically",
        ("points", "drills"),
        ("scope", "rpo", "results"),
        "what is backed up by which schedule, and tests of restoring it",
        "that scope and frequency fit criticality and confidentiality",
    ),
    Control(
        "DORA (EU) 2022/2554",
        "Article 12(6) Recovery time and recovery point objectives",
        "set RTO and RPO for each function",
        ("targets",),
        ("rto", "rpo"),
        "targets as configured by policy, and what was measured against them",
        "which function a policy serves; no number is asked for",
    ),
    Control(
        "DORA (EU) 2022/2554",
        "Article 12(7) Checks after recovery",
        "make multiple checks, with reconciliations, that integrity is at its highest",
        ("drills",),
        ("integrity", "controls"),
        "probes of every drill, each with planted faults",
        "reconciliation with other parties",
    ),
)
"""In the order of the report."""


def mapping(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Say, by control, whether the quarter has evidence for what is claimed."""
    there = _there(sections)
    return {
        "controls": [
            {
                "standard": each.standard,
                "control": each.control,
                "asks": each.asks,
                "sections": [*each.sections],
                "evidence": "given" if all(there[need] for need in each.needs) else "none",
                "claims": each.claims if all(there[need] for need in each.needs) else "nothing",
                "missing": [need for need in each.needs if not there[need]],
                "not_claimed": each.not_claimed,
            }
            for each in CONTROLS
        ],
        "of_all": "no standard here asks for a tool, a bundle or a number; none is claimed to be met",
    }


def _there(sections: Mapping[str, Any]) -> dict[str, bool]:
    policies = sections["scope"]["policies"]
    drills = sections["results"]["drills"]
    return {
        "drills": any(each["kind"] != "key" for each in drills),
        "points": bool(sections["results"]["points"]),
        "checks": bool(sections["integrity"]["checks"]),
        "targets": any(
            each["rpo_us"] is not None and each["rto_us"] is not None for each in policies
        ),
    }

"""``drkeeper drill --kind mass``: the whole is as good as its worst part."""

import json

from doubles.installation import Installation


def facts(result):
    """Return the summary of a command that wrote JSON lines."""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [each for each in lines if each["message_type"] == "summary"][-1]


def add(installed, name, objectives, probe):
    """Add a policy of the same files, and a snapshot of it."""
    installed.policy(
        name,
        f"""policy: {name}
source:
  files: {{paths: [{installed.source}]}}
objectives: {objectives}
drill:
  probes: [{probe}]
""",
    )
    installed.done("backup", name)


def test_a_part_that_came_too_late_makes_the_whole_too_slow(tmp_path):
    """All came back sound, one of them later than its own promise: the whole is not proven, and says
    which part it was; what was measured is kept."""
    installed = Installation(tmp_path).init()
    there = f"test -e {{restored}}{installed.source} && echo yes"
    for name, rto, words in (("quick", "1h", there), ("slow", "1s", f"sleep 1.2; {there}")):
        probe = f'{{command: [/bin/sh, -c, "{words}"], expect: "yes"}}'
        add(installed, name, f"{{rpo: 1h, rto: {rto}}}", probe)
    result = installed.run("drill", "quick", "slow", "--kind", "mass", "--json")
    assert result.returncode == 15, (result.stdout, result.stderr)
    whole = facts(result)
    assert whole["verdict"] == "too-slow"
    assert whole["reason"].startswith("policy slow took too long: expected restored, sound, and as")
    assert "too-slow (drill " in whole["reason"]
    outcomes = {each["name"]: each["outcome"] for each in whole["probes"]}
    assert outcomes == {"quick": "passed", "slow": "too-slow"}
    assert whole["achieved_rto_seconds"] > 1.2
    text = installed.run("drill", "quick", "slow", "--kind", "mass")
    assert "all at once: TOO-SLOW: policy slow took too long" in text.stdout
    installed.done("ledger", "verify")

"""The stand-alone verifier as a module."""

import importlib.util
from pathlib import Path
from types import ModuleType

TOOL = Path(__file__).parents[2] / "tools" / "verify_report.py"


def verifier_of_reports() -> ModuleType:
    """Load ``tools/verify_report.py``, which is no part of any package."""
    spec = importlib.util.spec_from_file_location("verify_report", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

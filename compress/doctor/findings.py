"""What a diagnosis is made of."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["problem", "warning", "note"]
_ORDER = {"problem": 0, "warning": 1, "note": 2}


@dataclass(frozen=True)
class Finding:
    """One thing to know before going on.

    Attributes:
        severity: "problem" (results will be wrong or a step will fail), "warning" (likely not what
            was meant) or "note".
        topic: "weights", "pruning", "graph", "input", "output", "data", "export" or "environment".
        where: Layer or input it is about; may be empty.
        message: One sentence.
        hint: What to do; may be empty.
    """

    severity: Severity
    topic: str
    where: str
    message: str
    hint: str = ""

    def line(self) -> str:
        """The finding as one line."""
        return f"{self.message}; {self.hint}" if self.hint else self.message


@dataclass(frozen=True)
class Diagnosis:
    """What was found, the worst first.

    Attributes:
        model: Name of the model.
        findings: The findings.
    """

    model: str
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing found is a problem."""
        return all(finding.severity != "problem" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as JSON-able values."""
        return {
            "model": self.model,
            "healthy": self.healthy,
            "findings": [asdict(finding) for finding in self.findings],
        }


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """Findings in the order of their severity, as found within each."""
    return tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity]))

"""What every result that explains has: text for people, the same for rich and notebooks, JSON for
programs.
"""

from __future__ import annotations

import html
import json
from typing import Any


class Shown:
    """A result with ``text`` (several lines, the verdict first) and ``as_dict()``."""

    @property
    def text(self) -> str:
        """The result as lines for a person."""
        raise NotImplementedError

    def as_dict(self) -> dict[str, Any]:
        """The result as JSON has it."""
        raise NotImplementedError

    def to_json(self) -> str:
        """One JSON document."""
        return json.dumps(self.as_dict(), indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def __rich__(self) -> Any:
        from rich.text import Text

        return Text(self.text)

    def _repr_html_(self) -> str:
        return f'<div style="overflow-x:auto"><pre>{html.escape(self.text)}</pre></div>'

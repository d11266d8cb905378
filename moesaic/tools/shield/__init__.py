"""Text that somebody else wrote, made harmless before a model reads it: cleaned, and marked as data.

    spotlight = Spotlight(Shield(control_tokens=control_tokens_of("build/moe")))
    system_prompt += spotlight.instruction()
    marked = spotlight.marked(page.text, source=page.final_url)
    marked.text, marked.findings

shield.py           what could act is taken out; finding.py: what was found
control_tokens.py   the control tokens of chat templates
look_alikes.py      how text looks, whatever it is spelt with
spotlight.py        marks with a number for each request
"""

from moesaic.tools.shield.control_tokens import control_tokens_of
from moesaic.tools.shield.finding import Finding, FindingKind
from moesaic.tools.shield.shield import Cleaned, Shield
from moesaic.tools.shield.spotlight import Spotlight

__all__ = ["Cleaned", "Finding", "FindingKind", "Shield", "Spotlight", "control_tokens_of"]

"""Workflows and composite actions of GitHub's, step by step under bash, as far as ours need it.

Steps of others' actions are passed over; their ``with`` is only evaluated. An expression may name
``inputs``, ``steps`` (of before) and ``github``; what is not there raises a KeyError.
"""

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import yaml

EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
NAME = re.compile(r"\b(inputs|steps|github)((?:\.[\w-]+)+)")
#: As a runner calls it.
BASH = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]


def load(text):
    """A YAML document; ``on`` is a word in it, not the truth."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    resolvers = yaml.SafeLoader.yaml_implicit_resolvers
    loader.yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in found if tag != "tag:yaml.org,2002:bool"]
        for first, found in resolvers.items()
    }
    return yaml.load(text, loader)


def value(expression, known):
    """What an expression is: names, strings, ``==``, ``!=``, ``&&``, ``||`` and ``always()``."""

    def look(match):
        found = known[match[1]]
        for part in match[2][1:].split("."):
            found = found[part]
        return repr(found)

    text = NAME.sub(look, expression).replace("&&", " and ").replace("||", " or ")
    return eval(text, {"__builtins__": {}, "always": lambda: True})


def filled(text, known):
    """A text with its expressions replaced."""
    return EXPRESSION.sub(lambda m: str(value(m[1], known)), str(text))


@dataclass
class Runner:
    """Runs jobs in a checkout.

    Args:
        folder: the checkout.
        actions: ``uses`` → the file of an action of ours.
        path: folders in front of the others, of programs that stand in.
    """

    folder: Path
    actions: dict[str, Path] = field(default_factory=dict)
    path: tuple[Path, ...] = ()
    github: dict = field(default_factory=lambda: {"token": "t0", "event": {"number": "7"}})
    log: str = ""
    summary: str = ""
    ran: list[str] = field(default_factory=list)

    def job(self, steps, inputs=None, action=None):
        """Run the steps; returns whether all went well, and each step's outputs."""
        known, good = {"inputs": inputs or {}, "steps": {}, "github": self.github}, True
        for step in steps:
            condition = step.get("if", "")
            if not value(condition or "True", known) or not (good or "always()" in condition):
                known["steps"][step.get("id", "")] = {"outputs": Empty()}
                continue
            if "run" in step:
                done, outputs = self._run(step, known, action)
            else:
                given = {k: filled(v, known) for k, v in step.get("with", {}).items()}
                done, outputs = self._use(step["uses"], given)
            known["steps"][step.get("id", "")] = {"outputs": outputs}
            good = good and done
        return good, known["steps"]

    def _use(self, name, given):
        if name not in self.actions:
            return True, Empty()
        action = load(self.actions[name].read_text())
        declared = action["inputs"]
        assert given.keys() <= declared.keys()
        inputs = {k: given.get(k, about["default"]) for k, about in declared.items()}
        good, steps = self.job(action["runs"]["steps"], inputs, self.actions[name].parent)
        known = {"steps": steps}
        return good, {k: filled(o["value"], known) for k, o in action["outputs"].items()}

    def _run(self, step, known, action):
        out, summary = self.folder / ".output", self.folder / ".summary"
        out.write_text("")
        summary.write_text("")
        env = os.environ | {
            "PATH": os.pathsep.join([*map(str, self.path), os.environ["PATH"]]),
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(out),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_WORKSPACE": str(self.folder),
        }
        env |= {"GITHUB_ACTION_PATH": str(action)} if action else {}
        env |= {k: filled(v, known) for k, v in step.get("env", {}).items()}
        script = self.folder / ".step.sh"
        script.write_text(filled(step["run"], known))
        done = subprocess.run([*BASH, str(script)], cwd=self.folder, env=env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        self.log += done.stdout
        self.summary += summary.read_text()
        self.ran.append(step.get("name", step["run"]))
        pairs = (line.partition("=") for line in out.read_text().splitlines())
        return done.returncode == 0, Empty({k: v for k, _, v in pairs})


class Empty(dict):
    """Outputs, of which those that were not set are empty."""

    def __missing__(self, key):
        return ""

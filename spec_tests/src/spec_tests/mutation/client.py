"""The other end of `server`: starts it, gives it mutants, checks what it says."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spec_tests.mutation import shadow

__all__ = ["Client"]

KILLED = ("killed", "timeout")


class Client:
    """A server that runs in the environment of an implementation.

    Parameters
    ----------
    python : str
        The environment's interpreter.
    implementation : str
        The importable name.
    record : Path
        What `recorder` wrote.
    source : Path
        The package's folder.
    trusted, broken : set of str
        Tests known to pass, or to fail, on the package as it is, in a server too. Both grow.
    """

    def __init__(
        self,
        python: str,
        implementation: str,
        record: Path,
        source: Path,
        trusted: set[str],
        broken: set[str],
    ) -> None:
        self.implementation, self.source = implementation, source
        self.trusted, self.broken = trusted, broken
        server = ("-m", "spec_tests.mutation.server", "--impl", implementation)
        # A session of its own: Ctrl-C is for the one who counts, not for the server.
        self._process = subprocess.Popen(
            [python, *server, "--record", str(record)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )
        self.tests = set(self._heard()["ready"])

    def close(self) -> None:
        """End the server."""
        self._process.kill()
        self._process.communicate()

    def ask(
        self,
        changed: Mapping[str, str | Path],
        tests: Sequence[str],
        environment: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Run tests on a mutant until one fails; return the server's answer.

        A test that fails on the package as it is does not count, and is not asked again.

        Parameters
        ----------
        changed : mapping of str to str or Path
            Files of the package, by path: their texts, or files to take in their place.
        tests : sequence of str
            Names, in the order to run them.
        environment : mapping, optional
            Variables to set.
        """
        with tempfile.TemporaryDirectory(prefix="mutant") as folder:
            shadow.make(self.source, Path(folder), changed)
            while True:
                left = [name for name in tests if name not in self.broken]
                job = {"shadow": folder, "tests": left, "environment": dict(environment or {})}
                answer = self._answer(job)
                name = answer["by"]
                if not name or self._passes(name):
                    return answer
                self.broken.add(name)

    def _passes(self, name: str) -> bool:
        if name not in self.trusted:
            answer = self._answer({"tests": [name]})
            if answer["status"] != "survived":
                return False
            self.trusted.add(name)
        return True

    def _answer(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._process.communicate()[1].strip().splitlines()[-5:]
            raise RuntimeError("mutation: the server ended: " + " | ".join(said))
        return dict(json.loads(line))

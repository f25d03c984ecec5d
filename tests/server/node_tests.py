"""Tests in JavaScript that run under Node.js."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parent


def run_node_tests(script: str, packages: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run the tests of a script in this folder, and return their report.

    Args:
        script: Name of the file.
        packages: Packages from npm, which are installed; the variable NODE_MODULES tells the script where.
        folder: An empty folder to install them in.
        environment: Other variables for the script.

    Raises:
        AssertionError: A test failed.
    """
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", folder, *packages]
    subprocess.run(install, check=True)
    command = ["node", "--test", "--test-reporter=spec", HERE / script]
    variables = os.environ | environment | {"NODE_MODULES": str(folder / "node_modules")}
    run = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout

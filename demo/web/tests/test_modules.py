# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The page's pure modules, tested by Node's own test runner."""

import subprocess
from pathlib import Path

HERE = Path(__file__).parent


def test_the_pure_modules_of_the_page_do_what_their_tests_say():
    tests = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    assert len(tests) == 2
    done = subprocess.run(
        ["node", "--test", *tests], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# fail 0" in done.stdout
    assert "# pass 0" not in done.stdout

"""The public suite of the Python array API standard, run on an implementation's `ops`.

The suite is a repository of its own (https://github.com/data-apis/array-api-tests), no package: the
user has a clone of it and names the folder. What is known to fail, and why, is kept in
`expectations.toml`; `python -m spec_tests.standard` runs the suite and holds the result to that.
"""

VERSION = "2025.12"

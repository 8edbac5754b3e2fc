"""What the build of the documentation makes: pages of clauses, functions, tests, API; pictures."""

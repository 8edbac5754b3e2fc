"""Train the same networks on the same data in several implementations, and report what differs.

Run it as ``python -m spec_tests.compare``. The modules that run inside an implementation's own
interpreter (`worker`, `workloads`, `network`) need NumPy alone.
"""

__all__: list[str] = []

"""The run-time checker of type hints for the tests: beartype, with int allowed where float is said (PEP 484)."""

from __future__ import annotations

from beartype import BeartypeConf, beartype

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))

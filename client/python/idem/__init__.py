"""idem: run it once.

    from idem import Jobs                  jobs, Celery tasks, scripts
    from idem import Idem, AsyncIdem       the commands
    from idem.flask import Idempotency     Flask; idem.django, idem.asgi (Starlette, FastAPI), idem.wsgi (any other)
    from flask_idempotent import Idempotent    in place of Flask-Idempotent

README.md of the package has the settings and what happens when.
"""
from .aio import AsyncIdem
from .claims import AsyncClaim, Claim, DidNothing
from .client import Idem
from .jobs import InProgress, Jobs, OutcomeUnknown, ResultNotKept
from .protocol import (BornAhead, Busy, BusyKey, Claimed, Conflict, Done, Forgotten, IdemError, Lapsed, Mismatch, Stale,
                       TooBig, Unavailable, Unknown)
from .settings import SettingsError, idempotent

__all__ = [
    "AsyncClaim", "AsyncIdem", "BornAhead", "Busy", "BusyKey", "Claim", "Claimed", "Conflict", "DidNothing", "Done",
    "Forgotten", "Idem", "IdemError", "InProgress", "Jobs", "Lapsed", "Mismatch", "OutcomeUnknown", "ResultNotKept",
    "SettingsError", "Stale", "TooBig", "Unavailable", "Unknown", "idempotent",
]

"""In place of Flask-Idempotent: what imported that imports this and runs unchanged."""
from idem.flask_idempotent import Idempotent

__all__ = ["Idempotent"]

"""Who may ask: where a request comes from, whose token it brings, and what that role may do.

`routes` is the table of routes and roles; `door` judges by it; `keys` holds tokens and sessions;
`origin` tells what is local; `operator` keeps the local operator's token.
"""

from daemon.access.door import Access
from daemon.access.keys import Caller, Issued, Keys, digest, matching, presented
from daemon.access.operator import OperatorTokenError, operator_token
from daemon.access.origin import Arrival, arrival, foreign_page, is_loopback
from daemon.access.routes import ROLES, Role

__all__ = [
    "ROLES",
    "Access",
    "Arrival",
    "Caller",
    "Issued",
    "Keys",
    "OperatorTokenError",
    "Role",
    "arrival",
    "digest",
    "foreign_page",
    "is_loopback",
    "matching",
    "operator_token",
    "presented",
]

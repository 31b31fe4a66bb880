"""Every error that trigflow raises on purpose: one tree, drawn here.

    TrigflowError
    ├── SetupError                 the app can't be built as written
    │   └── SettingsError          a setting is missing or has a wrong value
    ├── Rejected                   a request is not what the provider would send
    │   ├── VerificationError      signature, token or time is wrong
    │   └── DecodeError            verified, but its body can't be read
    ├── PayloadError               a payload does not fit its annotation
    ├── RegistrationError          a provider's webhook could not be brought in line
    │   ├── RefusedForNow          ... yet: may be asked again at a known time
    │   ├── Unauthorized           ... with these credentials: a person is needed
    │   │   ├── Forbidden          ... which are good, but may not do this
    │   │   └── NotConnected       ... which were given up, so that a person connects anew
    │   └── LimitReached           ... for one more subscriber of a connection
    ├── ApiError                   a provider's API answered with an error
    │   ├── NotFound
    │   └── RateLimited
    ├── StoreError                 the store can't do what was asked
    │   ├── StoreUnavailable       ... now; it may work later
    │   │   └── StoreStopped       ... in this process any more; a new one must be started
    │   └── StoreUnusable          ... with this file: wrong version, damaged, locked
    └── RunError                   a run can't go on
        ├── DuplicateTaskKey       one task key used twice in a run
        └── RunTimeout             the job took longer than its timeout

An error carries its facts as attributes; its text says what to do next.
No text ever holds a secret.
"""

from __future__ import annotations

from datetime import datetime


class TrigflowError(Exception):
    """Whatever trigflow raises on purpose."""


class SetupError(TrigflowError):
    """The app can't be built as written; the text names the place and the remedy."""


class SettingsError(SetupError):
    """A setting is missing or has a wrong value."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")
        self.name = name
        self.problem = problem


class Rejected(TrigflowError):
    """A request that is not what the provider would send.

    cause: a short stable name such as "bad-signature"; kept in the request log.
    status: the HTTP status to answer with.
    """

    status = 400

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


class VerificationError(Rejected):
    """The signature, the token or the time of a request is wrong or missing."""

    status = 401


class DecodeError(Rejected):
    """The body of a verified request can't be read."""

    status = 400


class PayloadError(TrigflowError):
    """A payload does not fit the annotation of the function that takes it."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class RegistrationError(TrigflowError):
    """A provider's webhook could not be brought in line with what the jobs want."""


class RefusedForNow(RegistrationError):
    """The provider refused, but may accept later; `until` is aware, UTC."""

    def __init__(self, what: str, until: datetime) -> None:
        super().__init__(f"{what} refused; asking again at {until:%Y-%m-%d %H:%M:%S} UTC")
        self.until = until


class Unauthorized(RegistrationError):
    """The credentials are missing, wrong, or may not do what was asked."""


class Forbidden(Unauthorized):
    """The credentials are good, but may not do what was asked.

    needs: scopes or permissions by the provider's names, where it told them: what is then lacking
        is the credentials' alone, and not a matter of one repository, say.
    """

    def __init__(self, text: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.needs = needs


class NotConnected(Unauthorized):
    """A connection was given up, which people are told of: a person must connect it again."""


class LimitReached(RegistrationError):
    """A connection has as many subscribers as it may."""

    def __init__(self, connection: str, limit: int) -> None:
        super().__init__(
            f"connection {connection} has {limit} subscribers, as many as it may; unsubscribe some, "
            "or raise subscribers_limit (0: any number)"
        )
        self.connection = connection
        self.limit = limit


class ApiError(TrigflowError):
    """A provider's API answered with an error.

    status: the HTTP status, or 0 when no answer came.
    """

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: {status} {message}" if status else f"{what}: {message}")
        self.status = status
        self.message = message


class NotFound(ApiError):
    """The provider does not have the thing, or hides it from these credentials."""


class RateLimited(ApiError):
    """The provider asks to wait; `until` is aware, UTC."""

    def __init__(self, what: str, status: int, message: str, until: datetime) -> None:
        super().__init__(what, status, f"{message} (ask again at {until:%Y-%m-%d %H:%M:%S} UTC)")
        self.until = until


class StoreError(TrigflowError):
    """The store can't do what was asked."""


class StoreUnavailable(StoreError):
    """The store can't be written now: full, read-only or locked; it may work later."""


class StoreStopped(StoreUnavailable):
    """The store can't be written by this process any more; a new one must be started."""


class StoreUnusable(StoreError):
    """The store can't be used as it is: another version's, damaged, or not ours."""


class RunError(TrigflowError):
    """A run can't go on."""


class DuplicateTaskKey(RunError):
    """One task key was used twice in a run."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"task key {key!r} was already used in this run; give each task its own key, "
            f'such as f"{key}-{{item.id}}" in a loop'
        )
        self.key = key


class RunTimeout(RunError):
    """The job took longer than its timeout."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the job took longer than its timeout of {seconds:g} s")
        self.seconds = seconds

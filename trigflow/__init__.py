"""Third-party events start plain decorated Python functions, durably, inside your own process.

The public names, and nothing else.
"""

from trigflow.app import App
from trigflow.core.alerts import Alert
from trigflow.core.dynamic import Dynamic, Wish, dynamic
from trigflow.core.errors import (
    ApiError,
    DecodeError,
    DuplicateTaskKey,
    Forbidden,
    LimitReached,
    NotFound,
    PayloadError,
    RateLimited,
    RefusedForNow,
    RegistrationError,
    Rejected,
    RunError,
    RunTimeout,
    SettingsError,
    SetupError,
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    TrigflowError,
    Unauthorized,
    VerificationError,
)
from trigflow.core.events import Event, Fetch, Ignored, Metadata, Respond, Signal, Subscriber
from trigflow.core.http import Headers, Request, Response
from trigflow.core.jobs import trigger
from trigflow.core.local import api_url
from trigflow.core.retry import Retry
from trigflow.core.runs import Run
from trigflow.core.triggers import Example, Specification, Trigger, When
from trigflow.core.values import Payload, payload
from trigflow.runtime.execution.io import IO, SyncIO
from trigflow.sources.credentials import Account, ApiKey, Auth, Checked, Credentials, Field, Token
from trigflow.sources.decode import decode_json, json_or_form, no_body
from trigflow.sources.delivery import Delivery
from trigflow.sources.external import ExternalSource
from trigflow.sources.handshake import Handshake
from trigflow.sources.integration import Integration, event
from trigflow.sources.keys import Key
from trigflow.sources.oauth import ClientCredentials, Manual, OAuth2
from trigflow.sources.parts import BODY, METHOD, URL, form, header, json, kv, query
from trigflow.sources.registration import (
    Choice,
    Choices,
    Events,
    Lease,
    Lost,
    Missed,
    Registered,
    Registration,
    Secret,
    Webhook,
    WebhookApi,
)
from trigflow.sources.samples import samples
from trigflow.sources.verify import (
    Unsigned,
    Verifier,
    any_of,
    ecdsa_p256,
    ed25519,
    first_of,
    hashed,
    hmac_any,
    hmac_sha1,
    hmac_sha256,
    hmac_sha512,
    standard_webhooks,
    token,
)

__version__ = "0.1.0"

__all__ = [
    "BODY",
    "IO",
    "METHOD",
    "URL",
    "Account",
    "Alert",
    "ApiError",
    "ApiKey",
    "App",
    "Auth",
    "Checked",
    "Choice",
    "Choices",
    "ClientCredentials",
    "Credentials",
    "DecodeError",
    "Delivery",
    "DuplicateTaskKey",
    "Dynamic",
    "Event",
    "Events",
    "Example",
    "ExternalSource",
    "Fetch",
    "Field",
    "Forbidden",
    "Handshake",
    "Headers",
    "Ignored",
    "Integration",
    "Key",
    "Lease",
    "LimitReached",
    "Lost",
    "Manual",
    "Metadata",
    "Missed",
    "NotFound",
    "OAuth2",
    "Payload",
    "PayloadError",
    "RateLimited",
    "RefusedForNow",
    "Registered",
    "Registration",
    "RegistrationError",
    "Rejected",
    "Request",
    "Respond",
    "Response",
    "Retry",
    "Run",
    "RunError",
    "RunTimeout",
    "Secret",
    "SettingsError",
    "SetupError",
    "Signal",
    "Specification",
    "StoreError",
    "StoreUnavailable",
    "StoreUnusable",
    "Subscriber",
    "SyncIO",
    "Token",
    "TrigflowError",
    "Trigger",
    "Unauthorized",
    "Unsigned",
    "VerificationError",
    "Verifier",
    "Webhook",
    "WebhookApi",
    "When",
    "Wish",
    "__version__",
    "any_of",
    "api_url",
    "decode_json",
    "dynamic",
    "ecdsa_p256",
    "ed25519",
    "event",
    "first_of",
    "form",
    "hashed",
    "header",
    "hmac_any",
    "hmac_sha1",
    "hmac_sha256",
    "hmac_sha512",
    "json",
    "json_or_form",
    "kv",
    "no_body",
    "payload",
    "query",
    "samples",
    "standard_webhooks",
    "token",
    "trigger",
]

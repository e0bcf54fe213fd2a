"""A receiver behind a URL: the message as the body of a POST, any status from 200 to 299 for taken."""

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from prometheus.orchestration.outbox.receivers import DeliveryError, OutgoingMessage

#: Characters of a refusal's answer that go into the message.
_TOLD: Final = 200


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without a body: nothing would be delivered, so it is refused."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirect."""


@dataclass(frozen=True, slots=True)
class HttpReceiver:
    """A URL; it may have a secret, so messages name only its host.

    TLS certificates are verified against the system's authorities. Proxies and redirects are not followed.

    Args:
        url: ``https://...``, or ``http://...``.
        seconds: Limit for connecting and for each answer.
    """

    url: str
    seconds: float
    name: str = "http"
    may_hang: bool = True

    def take(self, message: OutgoingMessage) -> None:
        """Send the message."""
        host = urlsplit(self.url).hostname
        request = urllib.request.Request(  # noqa: S310 -- the settings take http and https alone
            self.url,
            data=message.text.encode(),
            headers={
                "Content-Type": "application/json",
                "Idempotency-Key": message.key,
                "User-Agent": "prometheus-engine",
            },
            method="POST",
        )
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context()),
            _NoRedirect(),
        )
        try:
            with opener.open(request, timeout=self.seconds):
                return
        except urllib.error.HTTPError as error:
            with error:
                said = " ".join(error.read(_TOLD).decode(errors="replace").split())
            raise DeliveryError(f"{host} answered {error.code}{f': {said}' if said else ''}.") from error
        except TimeoutError as error:
            raise DeliveryError(f"{host} did not answer within {self.seconds:g} seconds.", code="TIMEOUT") from error
        except urllib.error.URLError as error:
            late = isinstance(error.reason, TimeoutError)
            raise DeliveryError(
                f"{host} cannot be reached: {error.reason}.", code="TIMEOUT" if late else None
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(f"{host} broke off: {type(error).__name__}.") from error

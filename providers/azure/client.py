"""Azure's SDK, as this provider uses it: every time-out and retry said, no waiting, values instead of models."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal
from urllib.parse import urlsplit

from autoscaler.errors import CredentialsError, InputError, ProviderError
from providers.azure.calls import begin, bounded, token_of
from providers.azure.failures import TEXT_LIMIT, GoneError, translated
from providers.azure.machines import MachineSeen, SetSeen
from providers.azure.settings import SetRef
from providers.azure.shown import Progress, machine_of, progress_of, scale_set_of

Identity = Literal["default", "environment", "managed", "workload", "cli"]
PUBLIC = "https://management.azure.com"
_SCOPE = "https://management.azure.com/.default"


def check_endpoint(endpoint: str) -> None:
    """Raises InputError unless a token may be sent there: over TLS, or within this machine."""
    parts = urlsplit(endpoint)
    loopback = parts.hostname in ("localhost", "::1") or (parts.hostname or "").startswith("127.")
    if parts.scheme != "https" and not (parts.scheme == "http" and loopback):
        raise InputError(f"azure.endpoint {endpoint!r}: would send a token in the open; write {PUBLIC}")


@dataclass
class Client:
    """Calls to one Azure Resource Manager. timeout_s bounds connecting and each wait for an answer.

    Reads are tried again once when the connection fails; writes never, since only a fresh look tells whether the first
    one was carried out. A 429 is handed on at once instead of slept through.
    """

    endpoint: str
    identity: Identity
    credential: Any
    timeout_s: float
    _clients: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def scale_sets(self, subscription: str, group: str) -> list[SetSeen]:
        """All of a resource group."""
        with translated(f"listing the scale sets of {group}"):
            found = bounded(self._sets(subscription).list(group), f"scale sets of {group}")
            return [scale_set_of(SetRef(subscription, group, str(one.name).lower()), one) for one in found]

    def scale_set(self, ref: SetRef) -> SetSeen:
        """One. Raises GoneError when there is none."""
        with translated(f"reading scale set {ref}"):
            return scale_set_of(ref, self._sets(ref.subscription).get(ref.group, ref.name))

    def machines(self, ref: SetRef) -> list[MachineSeen]:
        """All of a scale set, with what each is doing."""
        with translated(f"listing the machines of {ref}"):
            listed = self._vms(ref.subscription).list(ref.group, ref.name, expand="instanceView")
            return [machine_of(one) for one in bounded(listed, f"machines of {ref}")]

    def machine(self, ref: SetRef, machine: str) -> MachineSeen | None:
        """One machine; None when there is none of that id."""
        try:
            with translated(f"reading machine {ref}/{machine}"):
                return machine_of(self._vms(ref.subscription).get(ref.group, ref.name, machine, expand="instanceView"))
        except GoneError:
            return None

    def write_set(self, seen: SetSeen, capacity: int | None, tags: Mapping[str, str]) -> str | None:
        """Capacity and tags in one write, if nobody wrote since `seen`. Returns the operation's continuation token.

        Raises StaleError when somebody did.
        """
        from azure.core import MatchConditions

        if not seen.etag:
            raise ProviderError(f"scale set {seen.ref}: Azure gave no etag, and without one an order could be doubled")
        body: dict[str, Any] = {"tags": dict(tags)}
        if capacity is not None:
            body["sku"] = {"name": seen.size, "capacity": capacity}
        with translated(f"writing scale set {seen.ref}"):
            return token_of(
                self._sets(seen.ref.subscription).begin_update(
                    seen.ref.group,
                    seen.ref.name,
                    body,
                    etag=seen.etag,
                    match_condition=MatchConditions.IfNotModified,
                    **begin(),
                )
            )

    def create_set(self, ref: SetRef, body: Mapping[str, Any]) -> str | None:
        """A new scale set, unless there is one of that name (else StaleError). Returns the continuation token."""
        from azure.core import MatchConditions

        with translated(f"making scale set {ref}"):
            sets = self._sets(ref.subscription)
            made = {**body, "name": ref.name}
            missing = MatchConditions.IfMissing
            return token_of(sets.begin_create_or_update(ref.group, ref.name, made, match_condition=missing, **begin()))

    def label(self, ref: SetRef, machine: MachineSeen, tags: Mapping[str, str], protect: bool) -> None:
        """Adds tags to a machine and protects it from scale-in, if nobody wrote since it was seen (else StaleError)."""
        from azure.core import MatchConditions

        with translated(f"labelling machine {ref}/{machine.id}"):
            vms = self._vms(ref.subscription)
            model = vms.get(ref.group, ref.name, machine.id)
            model.tags = dict(model.tags or {}) | dict(tags)
            model.properties.protection_policy = {"protectFromScaleIn": protect}
            vms.begin_update(
                ref.group,
                ref.name,
                machine.id,
                model,
                etag=machine.etag or None,
                match_condition=MatchConditions.IfNotModified if machine.etag else None,
                **begin(),
            )

    def operate(self, kind: Literal["delete", "start", "deallocate"], ref: SetRef, machines: list[str]) -> str | None:
        """Delete, start or deallocate machines by id. Returns the operation's continuation token."""
        body = {"instanceIds": machines}
        with translated(f"{kind} of {ref}/{','.join(machines)}"):
            sets = self._sets(ref.subscription)
            if kind == "delete":
                return token_of(sets.begin_delete_instances(ref.group, ref.name, body, **begin()))
            call = sets.begin_start if kind == "start" else sets.begin_deallocate
            return token_of(call(ref.group, ref.name, body, **begin()))

    def look(self, ref: SetRef, token: str) -> Progress:
        """Asks once how the operation behind a continuation token stands; one that Azure no longer knows is lost.

        The token is the address at which Azure tells. Asked only at our endpoint: the request bears a token.
        """
        from azure.core.rest import HttpRequest

        if not token.startswith(self.endpoint.rstrip("/") + "/"):
            return Progress("lost")
        try:
            with translated(f"asking for the operation on {ref}"):
                answer = self._client(ref.subscription).send_request(HttpRequest("GET", token))
                answer.raise_for_status()
                body = answer.json() if answer.content and answer.status_code == 200 else {}
                return progress_of(answer.status_code, body)
        except GoneError:
            return Progress("lost")

    def failure(self, ref: SetRef) -> tuple[str, str]:
        """Code and text of a scale set's failed provisioning, from its instance view; empty when it does not say."""
        with translated(f"reading the state of {ref}"):
            view = self._sets(ref.subscription).get_instance_view(ref.group, ref.name)
            for status in view.statuses or ():
                parts = str(status.code or "").split("/")
                if len(parts) > 2 and parts[0] == "ProvisioningState" and parts[1] == "failed":
                    return parts[2], str(status.message or "")[:TEXT_LIMIT]
        return "", ""

    def close(self) -> None:
        """Drops the connections."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def _sets(self, subscription: str) -> Any:
        return self._client(subscription).virtual_machine_scale_sets

    def _vms(self, subscription: str) -> Any:
        return self._client(subscription).virtual_machine_scale_set_vms

    def sdk(self, subscription: str) -> Any:
        """The SDK's client of a subscription, for questions that are not about one scale set."""
        return self._client(subscription)

    def _client(self, subscription: str) -> Any:
        with self._lock:
            if subscription not in self._clients:
                self._clients[subscription] = self._made(subscription)
            return self._clients[subscription]

    def _made(self, subscription: str) -> Any:
        from azure.mgmt.compute import ComputeManagementClient

        if self.credential is None:
            self.credential = make_credential(self.identity, self.timeout_s)
        plain = urlsplit(self.endpoint).scheme == "http"
        return ComputeManagementClient(
            self.credential,
            subscription,
            base_url=self.endpoint.rstrip("/"),
            credential_scopes=[_SCOPE],
            connection_timeout=min(self.timeout_s, 10.0),
            read_timeout=self.timeout_s,
            retry_total=1,
            retry_connect=1,
            retry_read=1,
            retry_status=0,
            retry_backoff_factor=0.1,
            retry_backoff_max=1.0,
            logging_enable=False,
            per_call_policies=[_plain_http()] if plain else [],
        )


def import_sdk() -> None:
    """Raises InputError that says how to install it when Azure's SDK is missing."""
    try:
        import azure.identity
        import azure.mgmt.compute  # noqa: F401
    except ImportError as error:
        raise InputError(f"azure provider: {error.name} is missing; pip install 'sigmascale[azure]'") from None


def make_credential(identity: Identity, timeout_s: float) -> Any:
    """The credential of that name of azure-identity, which otherwise would wait 300 s for an answer. Raises
    CredentialsError when the environment lacks what it needs."""
    from azure import identity as known

    # It would warn at every call that fails; the failure reaches the loop, which says it once.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    wire: dict[str, Any] = {"connection_timeout": min(timeout_s, 10.0), "read_timeout": timeout_s, "retry_total": 1}
    made: dict[Identity, Callable[[], Any]] = {
        "environment": lambda: known.EnvironmentCredential(**wire),
        "managed": lambda: known.ManagedIdentityCredential(**wire),
        "workload": lambda: known.WorkloadIdentityCredential(**wire),
        "cli": lambda: known.AzureCliCredential(process_timeout=10),
        "default": lambda: known.DefaultAzureCredential(process_timeout=10, **wire),
    }
    try:
        return made[identity]()
    except ValueError as error:
        raise CredentialsError(f"azure.identity {identity}: {error}") from None


def _plain_http() -> Any:
    """Allows a token on plain HTTP; only ever used within this machine (`check_endpoint`)."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class PlainHttp(SansIOHTTPPolicy):  # type: ignore[type-arg]
        def on_request(self, request: Any) -> None:
            request.context.options["enforce_https"] = False

    return PlainHttp()

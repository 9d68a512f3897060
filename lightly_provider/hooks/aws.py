"""
Read an Airflow connection of type ``aws``, for the access that Lightly gets and for AWS clients.

All AWS clients of the provider are created here, with the connection's endpoint, TLS, proxy, profile and client
settings.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lightly_provider.aws.credentials import access_from_aws_connection
from lightly_provider.aws.regions import InvalidRegionError, check_region
from lightly_provider.aws.secret_address import SecretAddress
from lightly_provider.exceptions import (
    LightlyAccessError,
    LightlyConnectionConfigError,
    LightlyError,
)
from lightly_provider.foreign_text import shown, shown_error
from lightly_provider.hooks.missing_connection import missing_connection
from lightly_provider.masking import mask_secret
from lightly_provider.network import ca_bundle_for, is_address, passwords_in, proxies_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    from lightly_provider.aws.credentials import DelegatedAccess, UserAccess

log = logging.getLogger(__name__)

# HeadBucket works in any region, and returns the bucket's region in this header even if it denies the request
# (AWS docs: S3 API reference, "HeadBucket").
_REGION_HEADER = "x-amz-bucket-region"
_DENIALS = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")
# Members of the extra that define the AWS endpoint and how to reach it.
_ENDPOINT_FIELDS = ("region_name", "endpoint_url", "service_config", "verify", "config_kwargs")
_OBJECTS = ("assume_role_kwargs", "service_config", "config_kwargs", "session_kwargs", "assume_role_with_saml")
_TEXTS = (
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "region_name",
    "endpoint_url",
    "profile_name",
    "role_arn",
    "assume_role_method",
)
# At DEBUG, these log requests, responses and the strings to sign: secret keys, session tokens, external IDs.
_LOGGERS_OF_SECRETS = (
    "botocore.auth",
    "botocore.credentials",
    "botocore.endpoint",
    "botocore.parsers",
    "botocore.utils",
)
# boto3 requires a region for every client, even for a global service (IAM) or to find a region (HeadBucket).
_ANY_REGION = "us-east-1"
# Client settings for requests that AWS answers at once or not at all.
QUICK: Mapping[str, Any] = {"connect_timeout": 5, "read_timeout": 15, "retries": {"total_max_attempts": 3}}


class Identity(StrEnum):
    """
    The identity of an AWS client.

    OWN uses the connection as the Amazon provider does, and assumes its role. KEYS uses only the keys, because Lightly
    assumes the role. NOBODY sends unsigned requests.
    """

    OWN = "own"
    KEYS = "keys"
    NOBODY = "nobody"


class AwsConnection:
    """
    An Airflow connection of type ``aws``, read once on first use.

    :param conn_id: Id of the connection, or the address of a secret that contains one, e.g.
        ``secretsmanager://aws_default/lightly/photos``. None: boto3's default credentials.
    :param connections: The task's AWS connections, one of which reads the secret. None (default): a new collection.
    :param fields: The connection's fields, if known: ``conn_type``, ``login``, ``password`` and ``extra``, as in a
        connection's JSON. None (default): read the connection.
    """

    def __init__(
        self,
        conn_id: str | None,
        connections: AwsConnections | None = None,
        *,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        if conn_id is not None and not (isinstance(conn_id, str) and conn_id.strip()):
            raise LightlyConnectionConfigError(
                f"The id of an AWS connection is {conn_id!r}; write the id of a connection of type Amazon Web Services "
                "(a template may have rendered to nothing)."
            )
        self.conn_id = conn_id
        self._connections = connections or AwsConnections()
        self._fields = fields
        self._sessions: dict[Identity, Any] = {}
        self._clients: dict[tuple[str, str, Identity, str], Any] = {}
        # boto3's clients may be shared by threads, the sessions that create them may not.
        self._creating = threading.RLock()

    def __repr__(self) -> str:
        return f"AwsConnection({self.conn_id!r})"

    @property
    def name(self) -> str:
        """The connection's name in messages."""
        return f"AWS connection {self.conn_id!r}" if self.conn_id else "boto3's default credentials"

    @cached_property
    def access(self) -> UserAccess | DelegatedAccess:
        """
        The access with which Lightly reaches a bucket.

        :raises InvalidAccessError: Lightly cannot use the connection, e.g. because it has a session token.
        """
        wrapper = self._wrapper
        return access_from_aws_connection(
            conn_id=str(self.conn_id),
            access_key_id=wrapper.aws_access_key_id,
            secret_access_key=wrapper.aws_secret_access_key,
            session_token=wrapper.aws_session_token,
            role_arn=wrapper.role_arn,
            external_id=wrapper.assume_role_kwargs.get("ExternalId"),
        )

    @property
    def region(self) -> str | None:
        """The connection's ``region_name``; None if it has none."""
        return self._wrapper.region_name

    @property
    def has_keys(self) -> bool:
        """Whether the connection has keys, which sign requests without assuming its role."""
        return bool(self._wrapper.aws_access_key_id and self._wrapper.aws_secret_access_key)

    def endpoint_url(self, service: str) -> str | None:
        """
        Return where the connection's requests to a service go, without a login.

        :param service: boto3's name of the service, e.g. ``sqs``.
        :returns: The address; None if it is AWS's own.
        """
        url = self._wrapper.get_service_endpoint_url(service)
        parts = urlsplit(url or "")
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl() or None

    @property
    def endpoint_extra(self) -> dict[str, Any]:
        """The endpoint settings of the extra, for a new connection to the same AWS endpoint."""
        extra = self._wrapper.extra_config
        return {name: extra[name] for name in _ENDPOINT_FIELDS if name in extra}

    def client(
        self,
        service: str,
        *,
        region: str | None = None,
        identity: Identity = Identity.OWN,
        config: Mapping[str, Any] | None = None,
    ) -> Any:
        """
        Return a boto3 client with the connection's settings; the same arguments return the same client, in any thread.

        :param service: boto3's name of the service, e.g. ``iam``.
        :param region: Region. None (default): that of the connection, the profile or the environment, else us-east-1.
        :param identity: Identity of the client. Default: OWN.
        :param config: Settings of botocore's ``Config``; the connection's own settings take precedence. Default: none.
        :raises LightlyConnectionConfigError: The connection's settings are invalid.
        :raises LightlyAccessError: AWS denied assuming the connection's role.
        """
        key = (service, region or "", identity, json.dumps(dict(config or {}), sort_keys=True))
        with self._creating:
            if key not in self._clients:
                with self._faults_explained():
                    self._clients[key] = self._new_client(service, region, identity, config or {})
            return self._clients[key]

    def account(self) -> str:
        """Ask AWS for the id of the account of the connection's own identity, which needs no permission."""
        return str(self.client("sts").get_caller_identity()["Account"])

    def _new_client(self, service: str, region: str | None, identity: Identity, config: Mapping[str, Any]) -> Any:
        _keep_secrets_from_the_log()
        with _quiet_credentials():
            return self._client_of_session(service, region, identity, config)

    def _client_of_session(
        self, service: str, region: str | None, identity: Identity, config: Mapping[str, Any]
    ) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        if identity not in self._sessions:
            self._sessions[identity] = self._new_session(identity)
        session, wrapper = self._sessions[identity], self._wrapper
        endpoint = wrapper.get_service_endpoint_url(service)
        settings = Config(**dict(config))
        if endpoint:
            # botocore does not support networks in NO_PROXY, which often exempt a self-hosted S3 endpoint.
            settings = settings.merge(Config(proxies=proxies_for(endpoint)))
        if wrapper.botocore_config:
            settings = settings.merge(wrapper.botocore_config)
        if identity is Identity.NOBODY:
            settings = settings.merge(Config(signature_version=UNSIGNED))
        return session.client(
            service,
            region_name=region or wrapper.region_name or session.region_name or _ANY_REGION,
            endpoint_url=endpoint,
            verify=_authorities(session, wrapper.verify),
            config=settings,
        )

    def _new_session(self, identity: Identity) -> Any:
        import boto3

        wrapper = self._wrapper
        held = wrapper.session_kwargs
        if identity is Identity.OWN:
            from airflow.providers.amazon.aws.hooks.base_aws import SessionFactory

            # The client that assumes the role also needs a region.
            region = wrapper.region_name or boto3.session.Session(**held).region_name or _ANY_REGION
            return SessionFactory(conn=wrapper, region_name=region, config=wrapper.botocore_config).create_session()
        if identity is Identity.NOBODY:
            held = {name: value for name, value in held.items() if not name.startswith("aws_")}
        return boto3.session.Session(**held)

    @cached_property
    def _wrapper(self) -> AwsConnectionWrapper:
        """The connection as parsed by the Amazon provider."""
        if self.conn_id is None:
            wrapper: AwsConnectionWrapper = _quiet_wrapper()(conn=None)
            return wrapper
        if self._fields is not None:
            return _wrapper_of(self.conn_id, self._fields)
        address = SecretAddress.parse(self.conn_id)
        return _wrapper_of(self.conn_id, self._in_secret(address) if address else _in_airflow(self.conn_id))

    def _in_secret(self, address: SecretAddress) -> Mapping[str, Any]:
        reader = self._connections[address.aws_conn_id]
        with refusals_explained(reader):
            text = read_secret(address, reader.client(address.service))
        if text is None:
            raise LightlyAccessError(
                f"There is no secret {address.name!r} in {address.service} ({self.conn_id}); create the access first, "
                "or correct the name."
            )
        return connection_fields(text, str(self.conn_id))

    @contextmanager
    def _faults_explained(self) -> Iterator[None]:
        """Explain in one sentence which settings botocore or the Amazon provider cannot use."""
        from botocore import exceptions

        try:
            yield
        except (exceptions.ClientError, exceptions.ConnectionError, exceptions.HTTPClientError):
            with refusals_explained(self):
                raise
        except (LightlyError, ImportError):
            raise
        except Exception as error:  # noqa: BLE001  (a connection's settings fail in many ways, each by its own class)
            fault = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
            raise LightlyConnectionConfigError(
                f"{self.name} cannot be used: {shown_error(fault.rstrip('.'))}; correct that setting of the connection."
            ) from None


def _authorities(session: Any, verify: Any) -> Any:
    """Return the trusted certificates: from the connection, from boto3's configuration, or from the environment."""
    if verify is not None or session._session.get_config_variable("ca_bundle"):
        return verify
    return ca_bundle_for(None)


class AwsConnections:
    """The AWS connections of one task, by id; each is read once on first use."""

    def __init__(self) -> None:
        self._by_id: dict[str | None, AwsConnection] = {}

    def __getitem__(self, conn_id: str | None) -> AwsConnection:
        if conn_id not in self._by_id:
            self._by_id[conn_id] = AwsConnection(conn_id, self)
        return self._by_id[conn_id]


def find_bucket_region(bucket: str, connection: AwsConnection) -> str | None:
    """
    Get a bucket's region from S3.

    S3 returns the region to anyone, even if it denies the request, so no permission is needed. The request is signed
    with the connection's keys if it has any, and otherwise unsigned. A role in the connection is not assumed, because
    it is for Lightly.

    :param bucket: Bucket name.
    :param connection: AWS connection for keys and endpoint.
    :return: Region code; None if S3 did not return it.
    :raises LookupError: The bucket does not exist.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    identity = Identity.KEYS if connection.has_keys else Identity.NOBODY
    client = connection.client("s3", identity=identity, config=QUICK)
    try:
        metadata = client.head_bucket(Bucket=bucket)["ResponseMetadata"]
    except ClientError as error:
        metadata = error.response["ResponseMetadata"]
        if metadata.get("HTTPStatusCode") == 404:
            raise LookupError(
                f"Bucket {bucket!r} does not exist (S3 answered 404); check its name, or create it."
            ) from None
    except BotoCoreError as error:
        log.warning("S3 could not be asked for the region of bucket %s: %s", bucket, shown_error(error))
        return None
    region = metadata.get("HTTPHeaders", {}).get(_REGION_HEADER)
    return str(region) if region else None


def read_secret(address: SecretAddress, client: Any) -> str | None:
    """
    Return the text of a secret in AWS; None if it does not exist.

    :param address: Address of the secret.
    :param client: boto3 client of the secret's service.
    """
    if address.service == "ssm":
        try:
            found = client.get_parameter(Name=address.stored_name, WithDecryption=True)
        except client.exceptions.ParameterNotFound:
            return None
        return str(found["Parameter"]["Value"])
    try:
        # A binary secret has no text, so it is not a connection.
        return str(client.get_secret_value(SecretId=address.stored_name).get("SecretString", ""))
    except client.exceptions.ResourceNotFoundException:
        return None
    except client.exceptions.InvalidRequestException:  # marked for deletion, and no longer readable
        return None


def connection_fields(text: str, conn_id: str) -> dict[str, Any]:
    """
    Return the fields of a connection of type ``aws`` that is stored as JSON.

    :param text: JSON of the connection.
    :param conn_id: Where it is stored, for the message, which does not repeat the text.
    :raises LightlyAccessError: The text is not such a connection.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or fields.get("conn_type") != "aws":
        raise LightlyAccessError(
            f"{conn_id!r} holds something else than an Airflow connection of type aws in JSON; choose another name."
        )
    return fields


def extra_of(extra: Any, conn_id: str) -> dict[str, Any]:
    """
    Parse a connection's extra into an object whose members have the types that the Amazon provider expects.

    :param extra: An object, or its JSON text. Members that are objects may be JSON text, too.
    :param conn_id: Id of the connection, for the message, which does not repeat the extra.
    :raises LightlyConnectionConfigError: The extra is invalid.
    """
    place = f"AWS connection {conn_id!r}"
    parsed = dict(_object(extra, f"The extra of {place}"))
    for name in _OBJECTS:
        if name in parsed:
            parsed[name] = dict(_object(parsed[name], f"{name} in the extra of {place}"))
    for name in _TEXTS:
        _check_text(parsed, name, place)
    for service, settings in parsed.get("service_config", {}).items():
        _check_endpoint(_object(settings, f"service_config.{service} in the extra of {place}"), service, place)
    _check_endpoint(parsed, "", place)
    # A number may have lost leading zeros, an underscore or an exponent when it was parsed (YAML and JSON rules).
    _check_text(parsed.get("assume_role_kwargs", {}), "ExternalId", place)
    for name in ("assume_role_kwargs", "config_kwargs"):
        if name in parsed:
            # botocore takes no null for what is left out.
            parsed[name] = {member: value for member, value in parsed[name].items() if value is not None}
    if "proxies" in (settings := parsed.get("config_kwargs", {})):
        settings["proxies"] = dict(_object(settings["proxies"], f"config_kwargs.proxies in the extra of {place}"))
        for scheme, address in settings["proxies"].items():
            if address and scheme != "no_proxy" and not is_address(str(address)):
                # The message does not repeat the value, because it may contain a login.
                raise LightlyConnectionConfigError(
                    f"config_kwargs.proxies.{shown(scheme, longest=100)} in the extra of {place} is not the address of "
                    "a server; write it like http://proxy:3128."
                )
    if isinstance(parsed.get("verify"), str):
        parsed["verify"] = {"true": True, "false": False}.get(parsed["verify"].strip().lower(), parsed["verify"])
        if isinstance(parsed["verify"], str) and not os.path.exists(parsed["verify"]):
            raise LightlyConnectionConfigError(
                f"verify in the extra of {place} is {parsed['verify']!r}, and there is no such file on this machine; "
                "write the path of a CA bundle, true or false."
            )
    return parsed


def _object(value: Any, what: str) -> Mapping[str, Any]:
    parsed = value
    if isinstance(value, str):
        try:
            parsed = json.loads(value) if value.strip() else {}
        except (ValueError, RecursionError):
            parsed = value
    if parsed is None:
        return {}
    if not isinstance(parsed, Mapping):
        kind = "text that is not JSON" if isinstance(parsed, str) else f"a {type(parsed).__name__}"
        raise LightlyConnectionConfigError(f"{what} is {kind}; it must be a JSON object, e.g. {{}}.")
    return parsed


def _check_text(members: Mapping[str, Any], name: str, place: str) -> None:
    value = members.get(name)
    if value is not None and not isinstance(value, str):
        raise LightlyConnectionConfigError(
            f"{name} in the extra of {place} is a {type(value).__name__} and not a text; write it in quotation marks, "
            "so that nothing changes it."
        )


def _check_endpoint(settings: Mapping[str, Any], service: str, place: str) -> None:
    url = settings.get("endpoint_url")
    if not url:
        return
    try:
        parts = urlsplit(str(url))
        fits = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and str(url).isprintable()
            and (parts.port or 1) > 0
        )
    except ValueError:
        fits = False
    if not fits or any(sign.isspace() for sign in str(url)):
        field = f"service_config.{service}.endpoint_url" if service else "endpoint_url"
        # The message does not repeat the value, because it may contain a login.
        raise LightlyConnectionConfigError(
            f"{field} in the extra of {place} is not the address of a server; write it like https://s3.example.com."
        )


def _in_airflow(conn_id: str) -> dict[str, Any]:
    from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook

    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise missing_connection(conn_id, kind="Amazon Web Services", otherwise="correct the id") from None
    return {"conn_type": found.conn_type, "login": found.login, "password": found.password, "extra": found.extra}


@cache
def _quiet_wrapper() -> type[AwsConnectionWrapper]:
    """
    Return the Amazon provider's class with its lines "credentials retrieved from …" at DEBUG.

    Its own instances, which a user's tasks and other providers create, still log them at INFO.
    """
    from airflow.providers.amazon.aws.utils.connection_wrapper import AwsConnectionWrapper

    class QuietWrapper(AwsConnectionWrapper):
        @property
        def log(self) -> Any:
            return _InfoAtDebug(super().log)

    return QuietWrapper


class _InfoAtDebug:
    """A logger whose ``info`` logs at DEBUG."""

    def __init__(self, log: Any) -> None:
        self._log = log

    def info(self, *args: Any, **kwargs: Any) -> None:
        self._log.debug(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def _wrapper_of(conn_id: str, fields: Mapping[str, Any]) -> AwsConnectionWrapper:
    if fields.get("conn_type") != "aws":
        raise LightlyConnectionConfigError(
            f"Airflow connection {conn_id!r} is of the type {fields.get('conn_type')!r}; name one of the type 'aws' "
            "(Amazon Web Services)."
        )
    place = f"AWS connection {conn_id!r}"
    for name in ("login", "password"):
        if not isinstance(fields.get(name), str | None):
            raise LightlyConnectionConfigError(f"The {name} of {place} is not text; write it in quotation marks.")
    extra = extra_of(fields.get("extra"), conn_id)
    _mask(fields, extra)
    region = extra.get("region_name")
    # An S3 service other than AWS's may have its own regions.
    if region and not extra.get("endpoint_url"):
        try:
            check_region(region, argument=f"region_name in the extra of {place}", known=regions_of_botocore())
        except InvalidRegionError as error:
            raise LightlyConnectionConfigError(str(error)) from None
    try:
        wrapper: AwsConnectionWrapper = _quiet_wrapper().from_connection_metadata(
            conn_id=conn_id, login=fields.get("login"), password=fields.get("password"), extra=extra
        )
    except Exception as error:  # noqa: BLE001  (a connection's settings fail in many ways, each by its own class)
        raise LightlyConnectionConfigError(
            f"{place} cannot be used: {shown_error(str(error).rstrip('.'))}; correct that setting of the connection."
        ) from None
    return wrapper


def _mask(fields: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    given = (extra, extra.get("session_kwargs", {}))
    secrets = [one.get(name) for one in given for name in ("aws_secret_access_key", "aws_session_token")]
    secrets += [fields.get("password"), extra.get("assume_role_kwargs", {}).get("ExternalId")]
    proxies = extra.get("config_kwargs", {}).get("proxies")
    addresses = [extra.get("endpoint_url"), *(proxies.values() if isinstance(proxies, Mapping) else ())]
    services = extra.get("service_config", {}).values()
    addresses += [_object(settings, "service_config").get("endpoint_url") for settings in services]
    for address in addresses:
        secrets += passwords_in(str(address or ""))
    for secret in secrets:
        if secret:
            mask_secret(str(secret))


def regions_of_botocore() -> Iterator[str]:
    """Yield the regions of the installed AWS SDK; a generator, because loading them takes a tenth of a second."""
    import botocore.session

    session = botocore.session.Session()
    for partition in session.get_available_partitions():
        yield from session.get_available_regions("s3", partition_name=partition)


# Whether this module is creating a client.
_is_creating = ContextVar("_is_creating", default=False)


@contextmanager
def _quiet_credentials() -> Iterator[None]:
    """
    Suppress botocore's lines "Found credentials in …" while this module creates a client.

    A client of the user's own code, also in the same task, still logs them.
    """
    token = _is_creating.set(True)
    try:
        yield
    finally:
        _is_creating.reset(token)


class _NoSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno > (logging.INFO if _is_creating.get() else logging.DEBUG)


_NO_SECRETS = _NoSecrets()


def _keep_secrets_from_the_log() -> None:
    """
    Prevent botocore from logging requests and responses, at any log level of Airflow.

    At DEBUG, it logs a new secret key or a session token before either can be masked. A session can be renewed at any
    time, so the filter stays for the lifetime of the process.
    """
    for name in _LOGGERS_OF_SECRETS:
        logging.getLogger(name).addFilter(_NO_SECRETS)  # adding the same filter again has no effect


@contextmanager
def refusals_explained(connection: AwsConnection) -> Iterator[None]:
    """
    Convert an AWS error into a message that names the denied identity and the next step.

    :param connection: AWS connection of the identity that sends the request.
    :raises LightlyAccessError: AWS denied the request, or could not be reached.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        answer = error.response.get("Error", {})
        code, text = answer.get("Code"), str(answer.get("Message", "")).rstrip(".")
        step = (
            "allow that to this identity"
            if code in _DENIALS
            else "look the code up in AWS's documentation of that operation"
        )
        raise LightlyAccessError(
            f"AWS refused {error.operation_name} to Airflow's own identity ({connection.name}): {shown(code)}: "
            f"{shown(text)}; "
            f"{step}, and run the task again."
        ) from None
    except BotoCoreError as error:
        raise LightlyAccessError(
            f"AWS could not be asked ({connection.name}): {shown_error(error)}; check that connection."
        ) from None

"""The only place that knows datadog-api-client; imported with the first question.

Imports single model modules: the package `v2.models` takes 3.6 s and 60 MiB more.
"""

import urllib.request
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import orjson
import urllib3
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException, OpenApiException
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.logs_aggregate_request import LogsAggregateRequest
from datadog_api_client.v2.model.logs_aggregation_function import LogsAggregationFunction
from datadog_api_client.v2.model.logs_compute import LogsCompute
from datadog_api_client.v2.model.logs_list_request import LogsListRequest
from datadog_api_client.v2.model.logs_list_request_page import LogsListRequestPage
from datadog_api_client.v2.model.logs_query_filter import LogsQueryFilter
from datadog_api_client.v2.model.logs_sort import LogsSort

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.logs.systems.http import USER_AGENT, failure, retry_after

__all__ = ["CALL_LIMIT", "Client", "Search"]

# Query text, first and last millisecond since the epoch, index.
Search = tuple[str, int, int, str]

_NAME: Final = "Datadog search"
CALL_LIMIT: Final = 30.0


class Client:
    """Blocking calls of the logs search; answers are the JSON as Datadog sent it.

    All methods raise Unavailable and Refused.
    """

    def __init__(self, url: str, api_key: str, app_key: str, ca_file: Path | None) -> None:
        configuration = Configuration(  # type: ignore[no-untyped-call] # not annotated
            host=url,
            api_key={"apiKeyAuth": api_key, "appKeyAuth": app_key},
            ssl_ca_cert=str(ca_file) if ca_file else None,
            request_timeout=(10.0, CALL_LIMIT),
            # Its models of a thousand logs cost more than the request itself.
            preload_content=False,
            # Retries belong to whoever asks; by default urllib3 makes three of its own.
            retry_policy=urllib3.Retry(0, redirect=False, raise_on_redirect=False),
        )
        configuration.proxy = _proxy(url)
        self._client = ApiClient(configuration)
        self._client.user_agent = USER_AGENT
        self._logs = LogsApi(self._client)  # type: ignore[no-untyped-call] # not annotated

    def list(self, search: Search, order: str, limit: int, after: str | None) -> dict[str, Any]:
        """One page of logs: `data`, `meta`."""
        page = LogsListRequestPage(limit=limit, **({"cursor": after} if after else {}))
        sort = LogsSort.TIMESTAMP_ASCENDING if order == "asc" else LogsSort.TIMESTAMP_DESCENDING
        body = LogsListRequest(filter=_filter(search), page=page, sort=sort)
        return _answer(self._logs.list_logs, body)

    def count(self, search: Search) -> dict[str, Any]:
        """How many logs match: `data.buckets[0].computes.c0`, `meta`."""
        compute = LogsCompute(aggregation=LogsAggregationFunction.COUNT)
        body = LogsAggregateRequest(filter=_filter(search), compute=[compute])
        return _answer(self._logs.aggregate_logs, body)

    def close(self) -> None:
        """Close all connections."""
        # The client's own close() only forgets the pools, and leaves closing to the collector.
        pools = self._client.rest_client.pool_manager.pools
        for key in pools.keys():  # noqa: SIM118 - not a dict: it can't be iterated
            pools[key].close()
        self._client.close()


def _filter(search: Search) -> LogsQueryFilter:
    text, first, last, index = search
    return LogsQueryFilter(query=text, _from=str(first), to=str(last), indexes=[index])


def _answer(call: Any, body: Any) -> dict[str, Any]:
    try:
        answer = orjson.loads(call(body=body).data)
    except ApiException as error:
        raise _refusal(error) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise failure(_NAME, error) from error
    except (OpenApiException, ValueError) as error:
        raise Unavailable(f"{_NAME}: the answer is not Datadog's ({error})") from error
    if not isinstance(answer, dict):
        raise Unavailable(f"{_NAME}: the answer is not Datadog's; check site and searchUrl")
    return answer


def _refusal(error: ApiException) -> AgentError:
    if not error.status:  # the client's own way to tell of a TLS failure
        return failure(_NAME, error)
    words = f"{_NAME}: HTTP {error.status} ({str(error.body)[:300]})"
    if error.status in (401, 403):
        return Refused(f"{words}; appKey must be an application key with logs_read_data")
    if error.status == 400:
        return Refused(f"{words}; check index")
    headers = {name.lower(): text for name, text in (error.headers or {}).items()}
    if error.status in (408, 425, 429) or error.status >= 500:
        return Unavailable(words, retry_after=retry_after(headers))
    return Refused(f"{words}; check site and searchUrl")


def _proxy(url: str) -> str | None:
    """The proxy that the environment names for `url`; the client itself does not look."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get(parts.scheme)

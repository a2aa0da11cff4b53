"""HTTP as it comes off the wire: uvicorn's reader of it, which refuses what is none as a problem; used by `cli`."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contracts.problems import ProblemCode
from runtime.problems import ProblemError, problem_response

# The parser takes no longer one. What is cut off is no loss: `RequestScope` refuses a query string half as long.
MAX_URL_BYTES = 2**16 - 1


class HttpProtocol(HttpToolsProtocol):
    """One connection; its requests' URLs are bounded, and no refusal is plain text."""

    def on_url(self, url: bytes) -> None:
        """A piece of the URL has arrived."""
        super().on_url(url[: MAX_URL_BYTES - len(self.url)])

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no request, and close the connection."""
        response = problem_response(ProblemError(400, ProblemCode.HTTP_ERROR, msg))
        headers = [*self.server_state.default_headers, *response.raw_headers, (b"connection", b"close")]
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(response.body)]))
        self.transport.close()

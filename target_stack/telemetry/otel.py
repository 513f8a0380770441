"""Spans to an OpenTelemetry collector by OTLP over HTTP. Needs the `otel` extra."""

import time
from typing import Any

from harness.model.clock import monotonic_ns
from harness.model.errors import ScenarioError
from target_stack.telemetry.spans import Span, Trace

SERVICE = "callquake-target-stack"


class OtelSpans:
    """A `SpanSink` over opentelemetry-sdk's batch processor, which has a thread and a bounded queue of its own."""

    def __init__(self, url: str, exporter: Any = None) -> None:
        """`url`: the collector, as OTEL_EXPORTER_OTLP_ENDPOINT has it. `exporter` replaces the one over HTTP.

        Raises ScenarioError where the extra is not installed.
        """
        try:
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - from the otel extra
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - same
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - same

            exporter = exporter or _http_exporter(url)
        except ImportError as error:
            raise ScenarioError(f"--otlp {url}: {error}; it needs: pip install 'callquake[otel]'") from error
        # No subclass of the SDK's, which is not there when this file is read.
        ids: Any = _GivenIds()
        self._ids: _GivenIds = ids
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": SERVICE}), id_generator=ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("target_stack")
        # Exported times are Unix time.
        self._offset_ns = time.time_ns() - monotonic_ns()

    def write(self, trace: Trace) -> None:
        """Hand the spans to the exporter's queue; where that is full, the SDK drops them and says so."""
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - from the otel extra

        self._ids.trace_id = int(trace.trace_id, 16)
        root = self._begin(trace, trace.root_id, trace.root, None)
        inside = set_span_in_context(root)
        for span_id, span in trace.children:
            self._end(self._begin(trace, span_id, span, inside), span)
        self._end(root, trace.root)

    def _begin(self, trace: Trace, span_id: str, span: Span, context: Any) -> Any:
        self._ids.span_id = int(span_id, 16)
        attributes = {"session.id": trace.call_id, "callquake.turn": trace.turn, **span.attributes}
        return self._tracer.start_span(
            span.name, context=context, attributes=attributes, start_time=span.start_ns + self._offset_ns
        )

    def _end(self, started: Any, span: Span) -> None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - from the otel extra

        if span.error:
            started.set_attribute("error.type", span.error)
            started.set_status(StatusCode.ERROR)
        started.end(end_time=span.end_ns + self._offset_ns)

    def close(self) -> None:
        """Send what waits, and stop the exporter's thread."""
        self._provider.shutdown()


def _http_exporter(url: str) -> Any:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - the otel extra

    return OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=5)


class _GivenIds:
    """An id generator that returns the trace's own ids, so that the event file and the collector name a span alike."""

    def __init__(self) -> None:
        self.trace_id = 1
        self.span_id = 1

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        """Ours are."""
        return True

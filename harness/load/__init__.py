"""The only place that imports locust or gevent."""

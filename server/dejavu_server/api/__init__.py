"""The gRPC services: message in, domain call, message out; errors, interceptor, health and reflection."""

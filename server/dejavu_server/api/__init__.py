"""gRPC services with their converters, error table, interceptor, health service and reflection."""

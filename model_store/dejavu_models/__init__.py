"""What a forecast is and how it is made. Knows no gRPC, no HTTP and no torch."""
